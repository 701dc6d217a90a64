-- A person at the keyboard: the prompts are Neovim's own, and keys are typed.
local lib = require('lib')
local terminal = require('terminal')

terminal.shows('total = 0')
terminal.press(':Orch send demo implement shop [[approve ship it]] [[ask Which name?]] [[say I am done]]\r')
terminal.shows('ship it')
terminal.shows('Type number and <Enter>')
terminal.keep('approval')
local id = vim.json.decode(lib.orch('sessions', 'list', '--json')).items[1].id
lib.expect(lib.session(id).state == 'waiting_for_user', 'it waits for the answer')
terminal.press('1\r')
terminal.shows('Which name?')
terminal.press('Ada\r')
lib.orch('wait', id)
local said = lib.orch('transcript', id)
lib.expect(said:find('allow', 1, true) and said:find('Ada', 1, true), 'both answers were given: ' .. said)
terminal.leave()
print('OK keys')
