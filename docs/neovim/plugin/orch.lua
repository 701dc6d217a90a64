-- Defines :Orch, and lets pages of orch be read. Nothing is started before it is used.
if vim.g.loaded_orch then
  return
end
vim.g.loaded_orch = true

vim.api.nvim_create_user_command('Orch', function(args)
  require('orch.commands').run(args)
end, {
  nargs = '*',
  bang = true,
  desc = 'Start, watch, answer and review coding agents',
  complete = function(lead, line)
    return require('orch.commands').complete(lead, line)
  end,
})

vim.api.nvim_create_autocmd('BufReadCmd', {
  group = vim.api.nvim_create_augroup('orch.pages', {}),
  pattern = 'orch://*',
  desc = 'Read a page of orch from the hub',
  callback = function(event)
    require('orch.pages').read(event.buf)
  end,
})
