-- A person at the keyboard: a Neovim in a terminal of this one, where the prompts are Neovim's own and keys are typed.
local lib = require('lib')
local shop = vim.env.SHOP

vim.o.columns, vim.o.lines = 100, 40
local plugin = vim.opt.runtimepath:get()[1]
local begin = { '--cmd', 'set runtimepath^=' .. plugin, '--cmd', 'runtime plugin/orch.lua', '-c', 'lua require("orch").setup()' }
local command = vim.list_extend({ vim.v.progpath, '-u', 'NONE', '-i', 'NONE' }, begin)
vim.cmd.enew()
local screen = vim.api.nvim_get_current_buf()
local keyboard = vim.fn.jobstart(vim.list_extend(command, { shop .. '/src/cart.py' }), { term = true })

local function shows(text)
  lib.wait(function()
    return lib.lines(screen):find(text, 1, true)
  end, ('%q on the screen:\n%s'):format(text, lib.lines(screen)))
end

local function press(keys)
  vim.fn.chansend(keyboard, keys)
end

local function state_of(id)
  return lib.session(id).state
end

shows('total = 0')
press(':Orch send demo implement shop [[approve ship it]] [[ask Which name?]] [[say I am done]]\r')
shows('ship it')
shows('Type number and <Enter>')
local id = vim.json.decode(lib.orch('sessions', 'list', '--json')).items[1].id
lib.expect(state_of(id) == 'waiting_for_user', 'it waits for the answer')
press('1\r')
shows('Which name?')
press('Ada\r')
lib.orch('wait', id)
local said = lib.orch('transcript', id)
lib.expect(said:find('allow', 1, true) and said:find('Ada', 1, true), 'both answers were given: ' .. said)

press('\r:qa!\r')
lib.expect(vim.fn.jobwait({ keyboard }, 20000)[1] == 0, 'it leaves')
print('OK keys')
