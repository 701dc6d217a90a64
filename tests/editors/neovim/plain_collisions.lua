-- Neovim without the plug-in: where a session is at work shows while it works, and goes when it is undone.
local lib = require('lib')
local shop = vim.env.SHOP
local severity = vim.diagnostic.severity

local function found(wanted)
  return vim.diagnostic.get(0, { severity = wanted })
end

vim.cmd.edit(shop .. '/src/cart.py')
local text = vim.api.nvim_buf_get_lines(0, 0, -1, false)
local id = vim.lsp.start({ name = 'orch', cmd = { 'orch-server' }, root_dir = shop })
local client = vim.lsp.get_client_by_id(id)
lib.wait(function()
  return client.initialized
end, 'the server')
local session = lib.orch('send', 'demo', 'implement', 'shop', '--prompt', '[[write src/cart.py theirs]]'):match('%w+')
lib.wait(function()
  return #found(severity.INFO) == 1
end, 'the note that a session changes the line')
lib.expect(found(severity.INFO)[1].lnum == 0, vim.inspect(found()))
lib.expect(found(severity.INFO)[1].message:find(session, 1, true), vim.inspect(found()))

-- Nothing is written: what the buffer holds counts.
vim.api.nvim_buf_set_lines(0, 0, 1, false, { 'mine' })
lib.wait(function()
  return #found(severity.WARN) == 1
end, 'the warning of a collision')
lib.expect(found(severity.WARN)[1].code == 'collision', vim.inspect(found()))
lib.expect(lib.orch('collisions'):find('src/cart.py', 1, true), 'orch collisions names the file')
vim.api.nvim_win_set_cursor(0, { 1, 0 })
local answer = client:request_sync('textDocument/codeAction', {
  textDocument = vim.lsp.util.make_text_document_params(0),
  range = { start = { line = 0, character = 0 }, ['end'] = { line = 0, character = 0 } },
  context = { diagnostics = {} },
}, 60000, 0)
local titles = vim.tbl_map(function(action)
  return action.title
end, answer.result)
lib.expect(vim.iter(titles):any(function(title)
  return title:match('^Tell demo')
end), vim.inspect(titles))

vim.api.nvim_buf_set_lines(0, 0, -1, false, text)
lib.wait(function()
  return #found(severity.WARN) == 0
end, 'the end of the collision')
lib.orch('delete', session, '--yes')
lib.wait(function()
  return #found() == 0
end, 'the end of the note')
print('OK plain collisions')
