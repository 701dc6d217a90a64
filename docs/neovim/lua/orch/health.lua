--- :checkhealth orch
local M = {}

function M.check()
  local health = vim.health
  health.start('orch')
  if vim.fn.has('nvim-0.11') == 1 then
    health.ok('Neovim ' .. tostring(vim.version()))
  else
    health.error('Neovim 0.11 or newer is needed')
  end
  local cmd = require('orch').config.cmd
  if vim.fn.executable(cmd[1]) == 0 then
    health.error(cmd[1] .. ' is not on your PATH', { 'Install orch, for example with pipx', "Or give its place: setup({ cmd = { '/path/to/orch-server' } })" })
    return
  end
  local version = vim.system({ cmd[1], '--version' }, { text = true }):wait(10000)
  health.ok(('%s: %s'):format(vim.fn.exepath(cmd[1]), vim.trim(version.stdout or '')))
  local client = require('orch.client').start()
  if not client or not vim.wait(15000, function()
    return client.initialized or client:is_stopped()
  end, 20) or not client.initialized then
    health.error('The hub does not answer', { 'orch doctor says why' })
    return
  end
  local status = client:request_sync('orch/hub/status', {}, 5000, 0)
  if status and status.result then
    local hub = status.result
    health.ok(('The hub %s runs as process %d, home %s'):format(hub.version, hub.pid, hub.home))
  else
    health.error('The hub did not say how it is')
  end
  local projects = client:request_sync('orch/project/list', { limit = 1000 }, 5000, 0)
  local count = projects and projects.result and #projects.result.items or 0
  if count == 0 then
    health.warn('No repository is registered yet', { ':Orch add registers the one you are in' })
  else
    health.ok(('%d registered %s'):format(count, count == 1 and 'project' or 'projects'))
  end
  local agents = client:request_sync('orch/agent/list', {}, 15000, 0)
  for _, agent in ipairs(agents and agents.result and agents.result.items or {}) do
    if agent.available then
      health.ok(('agent %s%s'):format(agent.name, agent.version ~= vim.NIL and ' ' .. agent.version or ''))
    else
      health.info(('agent %s is not installed: %s'):format(agent.name, agent.hint))
    end
  end
end

return M
