--- Pages of the hub as buffers: orch:///sessions/<id>/transcript.md and the like, kept fresh while they are shown.
local M = {}

local FILETYPES = { md = 'markdown', patch = 'diff', log = 'text' }

local function page(session_id, name)
  return ('orch:///sessions/%s/%s'):format(session_id, name)
end

--- Return the name of a session's page.
M.name = page

local function fill(buffer, text)
  if not vim.api.nvim_buf_is_loaded(buffer) then
    return
  end
  local lines = vim.split(text, '\n', { plain = true })
  if lines[#lines] == '' then
    table.remove(lines)
  end
  -- Whoever reads at the end goes on reading at the end.
  local at_end = {}
  for _, window in ipairs(vim.fn.win_findbuf(buffer)) do
    if vim.api.nvim_win_get_cursor(window)[1] >= vim.api.nvim_buf_line_count(buffer) then
      table.insert(at_end, window)
    end
  end
  vim.bo[buffer].modifiable = true
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].modifiable = false
  vim.bo[buffer].modified = false
  for _, window in ipairs(at_end) do
    vim.api.nvim_win_set_cursor(window, { math.max(1, #lines), 0 })
  end
end

local function fetch(buffer)
  local uri = vim.api.nvim_buf_get_name(buffer)
  require('orch.client').request('workspace/textDocumentContent', { uri = uri }, function(result)
    fill(buffer, result.text)
  end)
end

--- Read a page into its buffer.
---@param buffer integer
function M.read(buffer)
  local name = vim.api.nvim_buf_get_name(buffer)
  vim.bo[buffer].buftype = 'nofile'
  vim.bo[buffer].swapfile = false
  vim.bo[buffer].bufhidden = 'wipe'
  vim.bo[buffer].modifiable = false
  vim.bo[buffer].filetype = name:find('/base/') and (vim.filetype.match({ filename = name }) or '')
    or FILETYPES[name:match('%.(%w+)$')]
    or ''
  vim.api.nvim_create_autocmd('BufUnload', {
    buffer = buffer,
    once = true,
    callback = function()
      local client = require('orch.client').running()
      if client then
        client:notify('textDocument/didClose', { textDocument = { uri = name } })
      end
    end,
  })
  fetch(buffer)
end

--- The page has changed.
---@param uri string
function M.refresh(uri)
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(buffer) and vim.api.nvim_buf_get_name(buffer) == uri then
      fetch(buffer)
    end
  end
end

--- Show a page of a session in a split, or in the window where it is already.
function M.show(session_id, name)
  local uri = page(session_id, name)
  local window = vim.fn.bufwinid(vim.fn.escape(uri, '[]*?'))
  if window ~= -1 then
    vim.api.nvim_set_current_win(window)
  else
    vim.cmd('botright vsplit ' .. vim.fn.fnameescape(uri))
    vim.wo.wrap = true
  end
end

return M
