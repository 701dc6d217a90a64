-- A Neovim in a terminal of this one, as a person has it: what is on its screen, and keys to press.
local lib = require('lib')
local M = {}

vim.o.columns, vim.o.lines = 120, 30
local plugin = vim.opt.runtimepath:get()[1]
local begin = { '--cmd', 'set runtimepath^=' .. plugin, '--cmd', 'runtime plugin/orch.lua', '-c', 'lua require("orch").setup()' }
local command = vim.list_extend({ vim.v.progpath, '-u', 'NONE', '-i', 'NONE' }, begin)
vim.cmd.enew()
local screen = vim.api.nvim_get_current_buf()
local keyboard = vim.fn.jobstart(vim.list_extend(command, { vim.env.SHOP .. '/src/cart.py' }), { term = true })

function M.shows(text)
  lib.wait(function()
    return lib.lines(screen):find(text, 1, true)
  end, ('%q on the screen:\n%s'):format(text, lib.lines(screen)))
end

function M.press(keys)
  vim.fn.chansend(keyboard, keys)
end

-- Keep the screen as it is now, as text, where people find it.
function M.keep(name)
  vim.fn.mkdir(vim.env.SHOTS, 'p')
  vim.fn.writefile(vim.api.nvim_buf_get_lines(screen, 0, -1, false), vim.env.SHOTS .. '/' .. name .. '.txt')
end

function M.leave()
  M.press('\r:qa!\r')
  lib.expect(vim.fn.jobwait({ keyboard }, 20000)[1] == 0, 'it leaves')
end

return M
