-- The plug-in does the main job: start, watch, answer, look at, stop; and the command line sees the same.
local lib = require('lib')
local shop = vim.env.SHOP

vim.cmd.edit(shop .. '/src/cart.py')
require('orch').setup()
local orch = require('orch')
local sessions = require('orch.sessions')

-- Start by command, with an approval on the way.
lib.choose(function(items)
  return items[1]
end)
vim.cmd('Orch send demo implement shop [[write src/cart.py total = 1]] [[say I did it]] [[approve ship it]] [[hang]]')
local id = lib.told('(%w+) started')
lib.wait(function()
  return #lib.chosen == 1
end, 'the approval')
lib.expect(lib.chosen[1].prompt:find('ship it', 1, true), 'the approval says what it is about: ' .. lib.chosen[1].prompt)
lib.wait(function()
  return orch.statusline() == 'orch 1 running'
end, 'the statusline')
lib.expect(lib.session(id).state == 'running', 'the command line sees it running')

-- The list, and the live transcript.
vim.cmd('Orch')
lib.expect(vim.bo.filetype == 'orch', 'the list is open')
lib.wait(function()
  return lib.lines():find(id, 1, true)
end, 'the session in the list')
vim.api.nvim_win_set_cursor(0, { 1, 0 })
vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes('<CR>', true, false, true), 'x', false)
lib.wait(function()
  return vim.api.nvim_buf_get_name(0):find('transcript.md', 1, true)
end, 'the transcript')
local transcript = vim.api.nvim_get_current_buf()
lib.wait(function()
  return lib.lines(transcript):find('I did it', 1, true)
end, 'the words in the transcript')
lib.expect(not vim.bo[transcript].modifiable, 'a transcript cannot be changed')
lib.orch('followup', id, '[[say and now more]] [[hang]]')

-- The diff in a tab, and in the quickfix list.
local tabs = #vim.api.nvim_list_tabpages()
vim.cmd('Orch diff ' .. id)
lib.wait(function()
  return #vim.api.nvim_list_tabpages() > tabs
end, 'a tab')
lib.expect(vim.api.nvim_buf_get_name(0):find(id .. '/src/cart.py', 1, true), 'the file of the worktree is in it')
local left
for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
  local name = vim.api.nvim_buf_get_name(vim.api.nvim_win_get_buf(window))
  lib.expect(vim.wo[window].diff, name .. ' is compared')
  left = name:find('/base/src/cart.py', 1, true) and vim.api.nvim_win_get_buf(window) or left
end
lib.wait(function()
  return lib.lines(left) == 'total = 0'
end, 'the file as it was')
lib.expect(lib.lines() == 'total = 1', 'the file as it is')
vim.cmd('Orch files ' .. id)
lib.wait(function()
  return vim.bo.buftype == 'quickfix'
end, 'the quickfix window')
local items = vim.fn.getqflist()
lib.expect(#items == 1 and vim.api.nvim_buf_get_name(items[1].bufnr):find('src/cart.py', 1, true), vim.inspect(items))
vim.cmd.cclose()

-- The worktree's file.
vim.cmd('tabonly | only')
vim.cmd('Orch open ' .. id)
lib.wait(function()
  return vim.api.nvim_buf_get_name(0):find(id .. '/src/cart.py', 1, true)
end, 'the file of the worktree')

-- In the checkout: lens and hover.
vim.cmd.edit(shop .. '/src/cart.py')
lib.wait(function()
  local lenses = vim.tbl_map(function(lens)
    return lens.command.title
  end, vim.lsp.codelens.get(0))
  return vim.tbl_contains(lenses, '1 session here')
end, 'the lens')
local hover = vim.lsp.buf_request_sync(0, 'textDocument/hover', vim.lsp.util.make_position_params(0, 'utf-16'), 5000)
lib.expect(vim.inspect(hover):find(id, 1, true), 'the hover names the session: ' .. vim.inspect(hover))

-- Its change taken into the buffer, as an edit that can be undone.
local client = vim.lsp.get_clients({ name = 'orch', bufnr = 0 })[1]
lib.expect(lib.lines() == 'total = 0', 'the checkout is untouched')
client:exec_cmd({ title = 'take', command = 'orch.take', arguments = { { session = id, uri = vim.uri_from_bufnr(0) } } })
lib.wait(function()
  return lib.lines() == 'total = 1'
end, 'the change in the buffer')
vim.cmd('silent undo')
lib.expect(lib.lines() == 'total = 0', 'it can be undone')

-- A lens leads to what it is about.
vim.api.nvim_win_set_cursor(0, { 1, 0 })
local before = #vim.api.nvim_list_tabpages()
lib.choose(function(items)
  return items[#items]
end)
vim.lsp.codelens.run()
lib.wait(function()
  return #vim.api.nvim_list_tabpages() > before
end, 'the diff of the lens')
vim.cmd('tabonly | only')
vim.cmd.edit({ shop .. '/src/cart.py', bang = true })
lib.choose(function(items)
  return items[1]
end)

-- Stop; the transcript took in what the command line said meanwhile.
vim.cmd('Orch stop ' .. id)
lib.told(id .. ' is stopped')
lib.expect(lib.session(id).state == 'stopped', 'the command line sees it stopped')
lib.expect(orch.statusline() == '', 'nothing runs')

-- A question with a free answer, and what became of it.
vim.ui.input = function(options, done)
  table.insert(lib.chosen, { prompt = options.prompt })
  done('Ada')
end
local asked = #lib.chosen
vim.cmd('Orch send demo implement shop [[ask Which name?]]')
lib.wait(function()
  return #lib.chosen > asked
end, 'the question')
local said = lib.told('demo in shop completed: .*%((%w+)%)')
vim.cmd('Orch transcript ' .. said)
lib.wait(function()
  return lib.lines():find('Ada', 1, true)
end, 'the answer in the transcript')

-- Completion, and an error that says what to do.
local function completed(line)
  return vim.fn.getcompletion(line, 'cmdline')
end
lib.expect(vim.tbl_contains(completed('Orch st'), 'stop'), 'verbs')
lib.expect(vim.tbl_contains(completed('Orch stop '), id), 'sessions')
lib.expect(vim.tbl_contains(completed('Orch send de'), 'demo'), 'agents')
lib.expect(vim.tbl_contains(completed('Orch send demo im'), 'implement'), 'actions')
lib.expect(vim.tbl_contains(completed('Orch send demo implement '), 'shop'), 'projects')
vim.cmd('Orch stop nobody')
lib.told("There is no session 'nobody'")

-- Away and back: archive, delete, restore.
vim.cmd('Orch archive ' .. id)
lib.told(id .. ' is archived')
lib.wait(function()
  return #sessions.list() == 1
end, 'the list without it')
vim.cmd('Orch unarchive ' .. id)
lib.wait(function()
  return #sessions.list() == 2
end, 'the list with it')
vim.cmd('Orch delete ' .. id)
lib.told(id .. ' is in the trash')
vim.cmd('Orch restore ' .. id)
lib.wait(function()
  return sessions.by_id[id].state == 'stopped'
end, 'the session again')
lib.expect(vim.fn.isdirectory(shop .. '/.orchestrator/worktrees/' .. id) == 1, 'the worktree again')

-- The work comes home.
vim.cmd.edit({ shop .. '/src/cart.py', bang = true })
vim.cmd('Orch apply ' .. id)
lib.told('the work of ' .. id .. ' is in your checkout')
lib.expect(vim.fn.readfile(shop .. '/src/cart.py')[1] == 'total = 1', 'the checkout has it')
print('OK main job')
