-- Neovim without the plug-in: a language server like any other, with approvals as message requests.
local lib = require('lib')
local shop = vim.env.SHOP

lib.choose(function(items)
  return items[1]
end)
vim.cmd.edit(shop .. '/src/cart.py')
local id = vim.lsp.start({
  name = 'orch',
  cmd = { 'orch-server' },
  root_dir = shop,
  init_options = { approvals = true, notices = true },
})
local client = vim.lsp.get_client_by_id(id)
lib.wait(function()
  return client.initialized
end, 'the server')
lib.expect(client:supports_method('textDocument/codeAction'), 'code actions are announced')
local result
client:exec_cmd({
  title = 'send',
  command = 'orch.send',
  arguments = { { agent = 'demo', action = 'implement', prompt = '[[write new.txt hi]] [[approve deploy]]' } },
}, { bufnr = 0 }, function(error, given)
  lib.expect(not error, vim.inspect(error))
  result = given
end)
lib.wait(function()
  return result
end, 'the session')
lib.wait(function()
  return #lib.chosen > 0
end, 'the approval')
lib.wait(function()
  return lib.session(result.id).state == 'completed'
end, 'the end')
client:exec_cmd({ title = 'open', command = 'orch.open', arguments = { { session = result.id } } }, { bufnr = 0 })
lib.wait(function()
  return vim.api.nvim_buf_get_name(0):find(result.id .. '/new.txt', 1, true)
end, 'window/showDocument')
print('OK plain')
