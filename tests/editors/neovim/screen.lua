-- What a person sees of a collision: the marks beside the lines, and the list of all; the screens are kept.
local lib = require('lib')
local terminal = require('terminal')

terminal.shows('total = 0')
terminal.press(':lua vim.diagnostic.config({ virtual_lines = true })\r')
for number, title in ipairs({ 'Prices', 'Taxes' }) do
  local prompt = '[[write src/cart.py total = ' .. number .. ']]'
  lib.orch('send', 'demo', 'implement', 'shop', '--prompt', prompt, '--title', title, '--wait')
end
terminal.shows('changed-elsewhere: demo “Taxes”')
terminal.keep('collision-in-the-checkout')
local id = vim.json.decode(lib.orch('sessions', 'list', '--json')).items[1].id
terminal.press(':Orch open ' .. id .. '\r')
terminal.shows('total = 2')
terminal.shows('Would not merge with')
terminal.keep('collision-in-a-worktree')
terminal.press(':Orch collisions\r')
terminal.shows('Quickfix')
terminal.keep('collisions')
terminal.leave()
print('OK screen')
