--- The list of sessions, with what can be done to the one under the cursor.
local M = {}

local NAME = 'orch://sessions'
local MARKS = {
  created = '·', running = '▶', waiting_for_user = '?', completed = '✓', failed = '✗', stopped = '■', archived = '▽',
} -- stylua: ignore
local buffer ---@type integer?
local rows = {} ---@type table<integer, string>
local all = false

local HELP = {
  '<CR> conversation   o files   d diff   a answer   f follow-up   s stop   r resume',
  'c commit   p apply   A archive/unarchive   D delete   i details   . archived, too   q close',
}

local function commands()
  return require('orch.commands')
end

local function line_of(session)
  local state = session.state:gsub('_', ' ')
  local reason = session.reason
  if session.state ~= 'running' and reason ~= vim.NIL and reason and reason ~= 'turn_ended' then
    state = state .. ' (' .. reason:gsub('_', ' ') .. ')'
  end
  local changes = ''
  if session.changes ~= vim.NIL and session.changes then
    changes = ('+%d -%d'):format(session.changes.insertions, session.changes.deletions)
  end
  return ('%s %s  %-12s %-10s %-14s %-28s %-10s %s'):format(
    MARKS[session.state] or ' ',
    session.id,
    session.projectSlug,
    session.agent,
    session.action,
    state,
    changes,
    session.title:gsub('%s+', ' ')
  )
end

local function render()
  if not buffer or not vim.api.nvim_buf_is_loaded(buffer) then
    return
  end
  local lines = {}
  rows = {}
  for _, session in ipairs(require('orch.sessions').list(all)) do
    table.insert(lines, line_of(session))
    rows[#lines] = session.id
    for _, request in ipairs(session.inputRequests) do
      table.insert(lines, '    asks: ' .. request.title:gsub('%s+', ' '))
      rows[#lines] = session.id
    end
  end
  if #lines == 0 then
    lines = { 'No sessions. Start one: :Orch send AGENT ACTION PROJECT PROMPT' }
  end
  vim.list_extend(lines, { '', unpack(HELP) })
  vim.bo[buffer].modifiable = true
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].modifiable = false
end

local function under_cursor()
  return rows[vim.api.nvim_win_get_cursor(0)[1]]
end

local KEYS = {
  ['<CR>'] = 'transcript',
  o = 'files',
  d = 'diff',
  a = 'answer',
  f = 'followup',
  s = 'stop',
  r = 'resume',
  c = 'commit',
  p = 'apply',
  D = 'delete',
  i = 'show',
}

local function map_keys()
  local function map(key, action)
    vim.keymap.set('n', key, action, { buffer = buffer, nowait = true, desc = 'orch' })
  end
  for key, verb in pairs(KEYS) do
    map(key, function()
      local session_id = under_cursor()
      if session_id then
        commands()[verb](session_id, {})
      end
    end)
  end
  map('A', function()
    local session = require('orch.sessions').by_id[under_cursor() or '']
    if session then
      commands()[session.state == 'archived' and 'unarchive' or 'archive'](session.id, {})
    end
  end)
  map('.', function()
    all = not all
    render()
    if all then
      require('orch.client').request('orch/session/list', { includeArchived = true, states = { 'archived' } }, function(page)
        for _, session in ipairs(page.items) do
          require('orch.sessions').by_id[session.id] = session
        end
        render()
      end)
    end
  end)
  map('q', '<Cmd>close<CR>')
end

require('orch.sessions').on_change(render)

--- Open the list, or go to it.
function M.open()
  require('orch.client').start()
  local window = buffer and vim.fn.bufwinid(buffer) or -1
  if window ~= -1 then
    vim.api.nvim_set_current_win(window)
    return render()
  end
  vim.cmd('botright new')
  buffer = vim.api.nvim_get_current_buf()
  vim.api.nvim_buf_set_name(buffer, NAME)
  vim.bo[buffer].buftype = 'nofile'
  vim.bo[buffer].bufhidden = 'wipe'
  vim.bo[buffer].swapfile = false
  vim.bo[buffer].filetype = 'orch'
  vim.wo.wrap = false
  vim.wo.cursorline = true
  map_keys()
  render()
end

return M
