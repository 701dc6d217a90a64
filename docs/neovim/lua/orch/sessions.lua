--- What is known of the sessions: loaded once, then kept up to date by events.
local M = {}

M.by_id = {} ---@type table<string, table>
local listeners = {} ---@type fun(session: table?)[]
local loaded = false

local CARRIES = {
  ['session.created'] = true,
  ['session.state_changed'] = true,
  ['session.archived'] = true,
  ['session.unarchived'] = true,
  ['session.deleted'] = true,
  ['session.restored'] = true,
}

--- Have a function called whenever something of a session changed.
function M.on_change(listener)
  table.insert(listeners, listener)
end

local function changed(session)
  for _, listener in ipairs(listeners) do
    listener(session)
  end
  vim.cmd.redrawstatus({ bang = true })
end

local function keep(session)
  local known = M.by_id[session.id]
  if not known or known.version <= session.version then
    M.by_id[session.id] = session
  end
end

--- Load the sessions, page by page.
function M.load(cursor)
  require('orch.client').request('orch/session/list', { limit = 200, cursor = cursor }, function(page)
    for _, session in ipairs(page.items) do
      keep(session)
    end
    if page.nextCursor and page.nextCursor ~= vim.NIL then
      return M.load(page.nextCursor)
    end
    loaded = true
    changed(nil)
    for _, session in ipairs(M.list()) do
      require('orch.approvals').look(session)
    end
  end)
end

--- Take an event.
function M.take(event)
  local session
  if event.type == 'session.purged' then
    M.by_id[event.sessionId] = nil
  elseif CARRIES[event.type] then
    keep(event.data.session)
    session = M.by_id[event.sessionId]
  elseif event.type == 'session.updated' and M.by_id[event.sessionId] then
    session = vim.tbl_extend('force', M.by_id[event.sessionId], event.data.changed)
    M.by_id[event.sessionId] = session
  end
  vim.schedule(function()
    changed(session)
    if session then
      require('orch.approvals').look(session)
      if event.type == 'session.state_changed' then
        M.notice(event.data)
      end
    end
  end)
end

--- The connection ended.
function M.disconnected()
  loaded = false
  changed(nil)
end

--- Return the sessions that are not put away, the newest first; with `all`, the archived ones, too.
function M.list(all)
  local found = {}
  for _, session in pairs(M.by_id) do
    if session.state ~= 'deleted' and (all or session.state ~= 'archived') then
      table.insert(found, session)
    end
  end
  table.sort(found, function(a, b)
    return a.createdAt == b.createdAt and a.id < b.id or a.createdAt > b.createdAt
  end)
  return found
end

--- Return what the sessions are doing.
function M.summary()
  local running, waiting = 0, 0
  for _, session in pairs(M.by_id) do
    running = running + (session.state == 'running' and 1 or 0)
    waiting = waiting + (session.state == 'waiting_for_user' and 1 or 0)
  end
  local parts = {}
  if running > 0 then
    table.insert(parts, running .. ' running')
  end
  if waiting > 0 then
    table.insert(parts, waiting .. ' waiting')
  end
  return #parts > 0 and loaded and 'orch ' .. table.concat(parts, ', ') or ''
end

local LEVELS = { completed = vim.log.levels.INFO, failed = vim.log.levels.ERROR }

--- Tell that a session is done or failed.
function M.notice(data)
  local level = LEVELS[data.to]
  if level and data.from ~= data.to and require('orch').config.notices then
    local session = data.session
    local why = session.message ~= '' and ': ' .. session.message or ''
    local before = ('%s in %s %s: '):format(session.agent, session.projectSlug, data.to)
    require('orch.client').news(before, session.title, (' (%s)%s'):format(session.id, why), level)
  end
end

return M
