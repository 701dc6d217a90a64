-- :checkhealth orch says how things are, and :help orch is there.
local lib = require('lib')
vim.cmd.edit(vim.env.SHOP .. '/src/cart.py')
vim.cmd('checkhealth orch')
local text = lib.wait(function()
  local found = lib.lines()
  return found:find('agent demo', 1, true) and found
end, 'the report')
lib.expect(text:find('The hub .- runs as process') and text:find('1 registered project', 1, true), text)
lib.expect(not text:find('ERROR', 1, true), text)
vim.cmd('helptags ' .. vim.fn.fnameescape(vim.env.PLUGIN_COPY .. '/doc'))
vim.opt.runtimepath:prepend(vim.env.PLUGIN_COPY)
vim.cmd('help orch')
lib.expect(vim.bo.buftype == 'help', 'the help')
for verb in ([[answer apply archive commit delete diff files followup log open restore resume show steer stop transcript
  unarchive send do sessions add search disconnect collisions plan]]):gmatch('%a+') do
  lib.expect(pcall(vim.cmd, 'help :Orch-' .. verb), ':Orch ' .. verb .. ' is in the help')
end
print('OK health')
