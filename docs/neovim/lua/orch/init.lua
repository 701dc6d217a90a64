--- orch in Neovim: what a configuration uses of it.
local M = {}

---@class orch.Config
M.config = {
  cmd = { 'orch-server' }, -- how the server is started
  attach = true, -- to files as they are opened, for hover, code lenses and code actions
  approvals = true, -- ask with vim.ui.select when an agent wants to know something
  notices = true, -- tell with vim.notify when a session is done or failed
  codelens = true, -- show which sessions changed a file above its first line
  diff_tabs = 10, -- how many tabs :Orch diff opens at most; the quickfix list has all files
}

--- Set options and begin; without a call of this, orch begins with the first :Orch.
---@param options? table see M.config
function M.setup(options)
  M.config = vim.tbl_extend('force', M.config, options or {})
  if not M.config.attach then
    return
  end
  vim.api.nvim_create_autocmd({ 'BufReadPost', 'BufNewFile' }, {
    group = vim.api.nvim_create_augroup('orch.attach', {}),
    desc = 'Attach orch',
    callback = function(event)
      require('orch.client').attach(event.buf)
    end,
  })
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(buffer) then
      require('orch.client').attach(buffer)
    end
  end
end

--- Return what the sessions are doing, for a statusline: "orch 2 running, 1 waiting", "" where there is nothing.
---@return string
function M.statusline()
  return require('orch.sessions').summary()
end

return M
