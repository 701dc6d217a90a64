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

-- A code action on a line, the hover, a page as a file, and the sessions as symbols.
vim.cmd.edit(shop .. '/src/cart.py')
lib.choose(function(items)
  return vim.iter(items):find(function(item)
    return item.action.title == 'Explain this (demo)'
  end)
end)
vim.lsp.buf.code_action()
local function symbols()
  local reply = client:request_sync('workspace/symbol', { query = 'explain' }, 5000, 0)
  return reply and reply.result and reply.result[1]
end
lib.expect(lib.wait(symbols, 'the session of the code action').name == 'Explain src/cart.py', 'its title')
client:exec_cmd({ title = 'show', command = 'orch.transcript', arguments = { result.id } }, { bufnr = 0 })
lib.wait(function()
  return vim.api.nvim_buf_get_name(0):find('transcript.md', 1, true) and lib.lines():find('deploy', 1, true)
end, 'the transcript as a file')
local uri = vim.uri_from_fname(vim.fs.joinpath(lib.session(result.id).worktreePath, 'new.txt'))
lib.wait(function()
  local place = { textDocument = { uri = uri }, position = { line = 0, character = 0 } }
  local reply = client:request_sync('textDocument/hover', place, 5000, 0)
  return vim.inspect(reply):find(result.id, 1, true)
end, 'the hover')
print('OK plain')
