-- A code action starts a session; its progress is seen and cancelled; the hub dies and nothing is lost.
local lib = require('lib')
local shop = vim.env.SHOP

vim.cmd('filetype on')
vim.cmd.edit(shop .. '/src/cart.py')
require('orch').setup()
local client = lib.wait(function()
  local found = vim.lsp.get_clients({ name = 'orch', bufnr = 0 })[1]
  return found and found.initialized and found
end, 'an attached client')

-- Ask for the actions on a diagnostic, and carry one out, as `gra` does.
local namespace = vim.api.nvim_create_namespace('lint')
vim.diagnostic.set(namespace, 0, {
  { lnum = 0, col = 0, end_col = 5, message = 'total is never used [[say fixed]] [[hang]]', severity = 1, source = 'lint' },
})
lib.choose(function(items, options)
  if options.kind ~= 'codeaction' then
    return nil
  end
  for _, item in ipairs(items) do
    if item.action.title == 'Ask demo to fix this in a new session' then
      return item
    end
  end
end)
vim.api.nvim_win_set_cursor(0, { 1, 0 })
vim.lsp.buf.code_action()
local id = lib.told('(%w+) started: Fix: total is never used')
local started = lib.session(id)
lib.expect(started.prompt:find('```python\ntotal = 0', 1, true), started.prompt)

-- Its progress comes as any server's does.
local kinds, token = {}, nil
vim.api.nvim_create_autocmd('LspProgress', {
  callback = function(event)
    token = event.data.params.token
    table.insert(kinds, event.data.params.value.kind)
  end,
})
lib.wait(function()
  return token == 'orch-session-' .. id or client.progress.pending['orch-session-' .. id]
end, 'progress')
token = 'orch-session-' .. id

-- The hub is killed: the plug-in comes back by itself and sees the same session.
local pid = vim.fn.readfile(vim.env.ORCH_HOME .. '/hub.lock')[1]
vim.uv.kill(tonumber(pid), 'sigkill')
client = lib.wait(function()
  local found = vim.lsp.get_clients({ name = 'orch', bufnr = 0 })[1]
  return found and found.id ~= client.id and found.initialized and found
end, 'a new connection')
lib.wait(function()
  return require('orch').statusline() == 'orch 1 running'
end, 'the session after the restart')
lib.wait(function()
  return client.progress.pending[token] or vim.tbl_contains(kinds, 'begin')
end, 'progress after the restart')
client:notify('window/workDoneProgress/cancel', { token = token })
lib.wait(function()
  return lib.session(id).state == 'stopped'
end, 'the end by the cancelled progress')
lib.wait(function()
  return kinds[#kinds] == 'end'
end, 'the end of the progress')

-- Sessions are symbols.
local symbols = lib.wait(function()
  local reply = client:request_sync('workspace/symbol', { query = 'never used' }, 5000, 0)
  return reply and reply.result and reply.result[1]
end, 'a symbol')
lib.expect(symbols.location.uri == ('orch:///sessions/%s/session.md'):format(id), vim.inspect(symbols))
vim.cmd.edit(vim.fn.fnameescape(symbols.location.uri))
lib.wait(function()
  return lib.lines():find('- state: stopped', 1, true)
end, 'the page of the session')

-- An approval that is answered elsewhere is asked no more.
local asked = #lib.chosen
vim.cmd.startinsert()
vim.api.nvim_get_mode = function()
  return { mode = 'i', blocking = false }
end
vim.cmd('Orch send demo implement shop [[approve x]]')
local other = lib.told('(%w+) started: %[%[approve x')
lib.wait(function()
  return lib.session(other).state == 'waiting_for_user'
end, 'the approval')
lib.orch('respond', other, 'allow')
lib.wait(function()
  return #(require('orch.sessions').by_id[other].inputRequests) == 0
end, 'the answer')
vim.api.nvim_exec_autocmds('InsertLeave', {})
vim.wait(200)
lib.expect(#lib.chosen == asked, 'nothing was asked')
print('OK actions')
