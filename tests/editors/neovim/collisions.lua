-- Two sessions change the same line: it is marked in the file, compared side by side, and told.
local lib = require('lib')
local shop = vim.env.SHOP

vim.cmd.edit(shop .. '/src/cart.py')
require('orch').setup({ notices = false })
vim.cmd('Orch send demo implement shop [[write src/cart.py total = 1]] [[say one]]')
local first = lib.told('(%w+) started: %[%[write src/cart.py total = 1')
vim.cmd('Orch send demo implement shop [[write src/cart.py total = 2]] [[say two]]')
local second = lib.told('(%w+) started: %[%[write src/cart.py total = 2')

local function ours(severity)
  return lib.wait(function()
    return vim.iter(vim.diagnostic.get(0)):find(function(item)
      return item.source == 'orch' and (not severity or item.severity == severity)
    end)
  end, 'a diagnostic')
end

-- In the checkout: others change this line. In a worktree: it would not merge.
lib.expect(ours().lnum == 0, 'the line is marked')
vim.cmd('Orch open ' .. first)
lib.wait(function()
  return vim.api.nvim_buf_get_name(0):find(first .. '/src/cart.py', 1, true)
end, 'the file of the worktree')
lib.expect(ours(vim.diagnostic.severity.WARN).lnum == 0, 'the conflict is marked')

vim.cmd('Orch collisions ' .. first)
lib.wait(function()
  return vim.bo.buftype == 'quickfix'
end, 'the quickfix list')
local item = vim.fn.getqflist()[1]
lib.expect(item.lnum == 1 and item.text:find(second, 1, true), vim.inspect(item))
vim.cmd.cclose()

-- The code action of the diagnostic shows both sides.
lib.choose(function(items)
  return vim.iter(items):find(function(offered)
    return offered.action.command.command == 'orch.compare'
  end)
end)
vim.cmd('Orch open ' .. first)
lib.wait(function()
  return vim.api.nvim_buf_get_name(0):find(first .. '/src/cart.py', 1, true)
end, 'the file of the worktree')
vim.api.nvim_win_set_cursor(0, { 1, 0 })
vim.lsp.buf.code_action()
lib.wait(function()
  local names = vim.tbl_map(function(window)
    return vim.wo[window].diff and vim.api.nvim_buf_get_name(vim.api.nvim_win_get_buf(window)) or ''
  end, vim.api.nvim_tabpage_list_wins(0))
  local text = table.concat(names, ' ')
  return text:find(first, 1, true) and text:find(second, 1, true)
end, 'both sides')

-- When one side is put away the mark goes.
vim.cmd('Orch delete ' .. second)
lib.told(second .. ' is in the trash')
vim.cmd('tabonly | only')
vim.cmd('Orch open ' .. first)
lib.wait(function()
  return vim.api.nvim_buf_get_name(0):find(first .. '/src/cart.py', 1, true)
    and #vim.diagnostic.get(0, { severity = vim.diagnostic.severity.WARN }) == 0
end, 'no mark')
print('OK collisions')
