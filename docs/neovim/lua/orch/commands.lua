--- The verbs of :Orch. A verb of a session is a function (session id, options) of this module.
local M = {}

local ACTIONS = { 'analyze', 'review', 'implement', 'plan' }
local agents, projects = {}, {} ---@type string[], string[]

local function client()
  return require('orch.client')
end

local function words_of(session)
  return ('%s is %s'):format(session.id, session.state:gsub('_', ' '))
end

local function change(method, session_id, params, done)
  params = vim.tbl_extend('force', { session = session_id }, params or {})
  client().request(method, params, done or function(result)
    client().tell(words_of(result.session or result))
  end)
end

-- Ask for a text where none was given.
local function with_text(text, prompt, done)
  if text and text ~= '' then
    return done(text)
  end
  vim.ui.input({ prompt = prompt }, function(given)
    if given and given ~= '' then
      done(given)
    end
  end)
end

-- -- what starts one -----------------------------------------------------------------------------------------------

local function started(session)
  client().news(session.id .. ' started: ', session.title)
end

--- Start a session with the parameters of orch/session/start.
function M.start(params)
  client().request('orch/session/start', params, started)
end

function M.send(words)
  local agent, action, project = words[1], words[2], words[3]
  if not agent or not vim.tbl_contains(ACTIONS, action) or not project then
    return client().tell('say :Orch send AGENT ' .. table.concat(ACTIONS, '|') .. ' PROJECT [PROMPT]', vim.log.levels.ERROR)
  end
  local prompt = table.concat(words, ' ', 4)
  local function go(text)
    M.start({ agent = agent, action = action, project = project, prompt = text })
  end
  if prompt == '' and (action == 'analyze' or action == 'review') then
    return go(nil)
  end
  with_text(prompt, 'What is to be done? ', go)
end

M['do'] = function(words)
  with_text(table.concat(words, ' '), 'What is to be done? ', function(text)
    client().request('orch/command/submit', { text = text }, function(result)
      started(result.session)
    end)
  end)
end

-- -- what is looked at ---------------------------------------------------------------------------------------------

function M.transcript(session_id)
  require('orch.pages').show(session_id, 'transcript.md')
end

function M.show(session_id)
  require('orch.pages').show(session_id, 'session.md')
end

function M.log(session_id)
  require('orch.pages').show(session_id, 'stderr.log')
end

function M.diff(session_id, options)
  require('orch.diff').tabs(session_id, options)
end

function M.files(session_id, options)
  require('orch.diff').quickfix(session_id, options)
end

--- Open a file of the worktree: the one that is named, else the first that was changed, else the worktree itself.
function M.open(session_id, options)
  client().request('workspace/executeCommand', {
    command = 'orch.open',
    arguments = { { session = session_id, path = options.path or options.text, show = false } },
  }, function(found)
    if found.path then
      vim.cmd.edit(vim.fn.fnameescape(found.path))
    else
      M.show(session_id)
    end
  end)
end

-- -- what changes one ----------------------------------------------------------------------------------------------

function M.answer(session_id)
  client().request('orch/session/get', { session = session_id }, function(session)
    require('orch.sessions').by_id[session.id] = session
    require('orch.approvals').answer(session)
  end)
end

function M.followup(session_id, options)
  with_text(options.text, 'Follow-up: ', function(text)
    change('orch/session/followUp', session_id, { text = text })
  end)
end

function M.steer(session_id, options)
  with_text(options.text, 'Say now: ', function(text)
    change('orch/session/followUp', session_id, { text = text, mode = 'steer' })
  end)
end

function M.stop(session_id)
  change('orch/session/stop', session_id)
end

function M.resume(session_id, options)
  change('orch/session/resume', session_id, { text = options.text ~= '' and options.text or nil })
end

function M.archive(session_id)
  change('orch/session/archive', session_id)
end

function M.unarchive(session_id)
  change('orch/session/unarchive', session_id)
end

function M.delete(session_id)
  change('orch/session/delete', session_id, {}, function(result)
    local id = result.session.id
    client().tell(('%s is in the trash; :Orch restore %s brings it back'):format(id, id))
  end)
end

function M.restore(session_id)
  change('orch/session/restore', session_id)
end

function M.commit(session_id, options)
  change('orch/session/commit', session_id, { message = options.text ~= '' and options.text or nil }, function(result)
    client().tell(('committed %s'):format(tostring(result.commit):sub(1, 12)))
  end)
end

function M.apply(session_id)
  change('orch/session/apply', session_id, { preview = true }, function(would)
    local conflicts = would.preview.conflicts
    if #conflicts > 0 then
      local names = vim.tbl_map(function(conflict)
        return conflict.path
      end, conflicts)
      return client().tell('conflicts: ' .. table.concat(names, ', '), vim.log.levels.WARN)
    end
    local count = #would.preview.files
    vim.ui.select({ 'Yes', 'No' }, {
      prompt = ('Bring %d changed %s of %s into your checkout?'):format(count, count == 1 and 'file' or 'files', session_id),
      kind = 'orch.apply',
    }, function(choice)
      if choice == 'Yes' then
        change('orch/session/apply', session_id, {}, function()
          client().tell('the work of ' .. session_id .. ' is in your checkout')
          vim.cmd.checktime()
        end)
      end
    end)
  end)
end

-- -- :Orch ---------------------------------------------------------------------------------------------------------

local OF_SESSION = {
  'answer', 'apply', 'archive', 'commit', 'delete', 'diff', 'files', 'followup', 'log', 'open', 'restore', 'resume',
  'show', 'steer', 'stop', 'transcript', 'unarchive',
} -- stylua: ignore

local OTHER = {
  send = M.send,
  ['do'] = M['do'],
  sessions = function()
    require('orch.list').open()
  end,
  add = function(words)
    local path = words[1] and vim.fn.fnamemodify(words[1], ':p') or vim.fs.root(0, '.git') or vim.fn.getcwd()
    client().request('orch/project/add', { path = path }, function(project)
      client().tell(('%s is the project %s'):format(project.path, project.slug))
      M.learn()
    end)
  end,
  search = function(words)
    local query = table.concat(words, ' ')
    client().request('orch/search', { query = query }, function(page)
      local items = {}
      for _, hit in ipairs(page.items) do
        local name = require('orch.pages').name(hit.sessionId, 'transcript.md')
        table.insert(items, { filename = name, lnum = 1, text = hit.snippet:gsub('%s+', ' ') })
      end
      vim.fn.setqflist({}, ' ', { title = 'orch search: ' .. query, items = items })
      vim.cmd('botright copen')
    end)
  end,
  collisions = function(words)
    require('orch.diff').collisions(words[1])
  end,
  plan = function(words)
    if not words[1] then
      return client().tell('say which project: :Orch plan PROJECT', vim.log.levels.ERROR)
    end
    client().request('orch/collision/plan', { project = words[1] }, function(plan)
      local lines = #plan.order > 0 and { 'bring home in this order: ' .. table.concat(plan.order, ', ') }
        or { 'nothing is to be brought home' }
      for _, pair in ipairs(plan.settleFirst) do
        table.insert(lines, ('settle first: %s and %s'):format(pair[1], pair[2]))
      end
      client().tell(table.concat(lines, '\n'))
    end)
  end,
  disconnect = function()
    client().stop()
  end,
}

--- Learn the names that completion offers.
function M.learn()
  client().request('orch/project/list', { limit = 1000 }, function(page)
    projects = vim.tbl_map(function(project)
      return project.slug
    end, page.items)
  end)
  client().request('orch/agent/list', {}, function(page)
    agents = {}
    for _, agent in ipairs(page.items) do
      if agent.available then
        table.insert(agents, agent.name)
      end
    end
  end)
end

local function session_ids()
  return vim.tbl_map(function(session)
    return session.id
  end, require('orch.sessions').list(true))
end

-- Mean the session whose page or worktree is in the window, or the only one there is.
local function session_here()
  local name = vim.api.nvim_buf_get_name(0)
  local found = name:match('^orch:///sessions/(%w+)/') or name:match('/%.orchestrator/worktrees/(%w+)/')
  local ids = session_ids()
  return found or (#ids == 1 and ids[1] or nil)
end

--- Carry out :Orch.
function M.run(args)
  local words = vim.deepcopy(args.fargs)
  local verb = table.remove(words, 1) or 'sessions'
  if vim.tbl_contains(OF_SESSION, verb) then
    local session_id = table.remove(words, 1) or session_here()
    if not session_id then
      return client().tell(('say which session: :Orch %s SESSION'):format(verb), vim.log.levels.ERROR)
    end
    return M[verb](session_id, { text = table.concat(words, ' ') ~= '' and table.concat(words, ' ') or nil })
  end
  if not OTHER[verb] then
    return client().tell(('there is no :Orch %s; <Tab> shows what there is'):format(verb), vim.log.levels.ERROR)
  end
  OTHER[verb](words)
end

--- Complete :Orch.
function M.complete(lead, line)
  client().start()
  local words = vim.split(line, '%s+', { trimempty = true })
  local number = #words - (lead == '' and 0 or 1) -- how many words stand before the one that is completed
  local verb = words[2]
  local found = {}
  if (verb == 'send' or verb == 'plan') and vim.tbl_isempty(agents) then
    M.learn()
    vim.wait(1000, function()
      return not vim.tbl_isempty(agents)
    end, 10)
  end
  if number == 1 then
    found = vim.list_extend(vim.tbl_keys(OTHER), OF_SESSION)
  elseif vim.tbl_contains(OF_SESSION, verb) and number == 2 then
    found = session_ids()
  elseif verb == 'send' then
    found = ({ [2] = agents, [3] = ACTIONS, [4] = projects })[number] or {}
  elseif verb == 'collisions' and number == 2 then
    found = session_ids()
  elseif verb == 'plan' and number == 2 then
    found = projects
  elseif verb == 'add' and number == 2 then
    return vim.fn.getcompletion(lead, 'dir')
  end
  found = vim.tbl_filter(function(word)
    return vim.startswith(word, lead)
  end, found)
  table.sort(found)
  return found
end

return M
