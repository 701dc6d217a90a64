--- What agents ask: approvals and questions, one at a time, by vim.ui.select and vim.ui.input.
local M = {}

local asked = {} ---@type table<string, boolean> requests that were shown once
local queue = {} ---@type string[][] session and request
local busy = false

local function client()
  return require('orch.client')
end

---@return table? session, table? request
local function open_request(session_id, request_id)
  local session = require('orch.sessions').by_id[session_id]
  for _, request in ipairs(session and session.inputRequests or {}) do
    if request.id == request_id then
      return session, request
    end
  end
end

local function respond(session, request, params)
  params = vim.tbl_extend('force', { session = session.id, inputRequestId = request.id }, params)
  client().request('orch/session/respond', params, nil, function(error)
    -- Somebody else was first, or the agent does not wait any more: nothing is to be done.
    if not (error.data and error.data.kind == 'alreadyAnswered') then
      client().tell(error.message, vim.log.levels.ERROR)
    end
  end)
end

local function label(option)
  return option.label ~= '' and option.label or option.id
end

local function prompt_of(session, request, words)
  local detail = request.detail ~= '' and request.detail ~= request.title and '\n' .. request.detail or ''
  return ('%s in %s asks: %s%s%s'):format(session.agent, session.projectSlug, request.title, detail, words or '')
end

local function approve(session, request, done)
  vim.ui.select(request.options, {
    prompt = prompt_of(session, request),
    kind = 'orch.approval',
    format_item = label,
  }, function(option)
    if option then
      respond(session, request, { optionId = option.id })
    end
    done()
  end)
end

local OTHER = { id = '', label = 'Something else …' }

local function answer(session, request, number, answers, done)
  local question = request.questions[number]
  if not question then
    respond(session, request, { answers = answers })
    return done()
  end
  local function take(chosen, text)
    table.insert(answers, { questionId = question.id, optionIds = chosen, text = text })
    answer(session, request, number + 1, answers, done)
  end
  local function write()
    if question.secret then
      local text = vim.fn.inputsecret(prompt_of(session, request, '\n' .. question.text) .. ' ')
      return text ~= '' and take({}, text) or done()
    end
    vim.ui.input({ prompt = question.text .. ' ' }, function(text)
      if text and text ~= '' then
        take({}, text)
      else
        done()
      end
    end)
  end
  if #question.options == 0 then
    return write()
  end
  local options = vim.list_extend({}, question.options)
  if question.allowsText then
    table.insert(options, OTHER)
  end
  vim.ui.select(options, {
    prompt = prompt_of(session, request, '\n' .. question.text),
    kind = 'orch.question',
    format_item = label,
  }, function(option)
    if not option then
      done()
    elseif option == OTHER then
      write()
    else
      take({ option.id }, nil)
    end
  end)
end

local function ask_next()
  if busy then
    return
  end
  local next_one = table.remove(queue, 1)
  if not next_one then
    return
  end
  local session, request = open_request(next_one[1], next_one[2])
  if not session or not request then
    return ask_next() -- answered elsewhere meanwhile
  end
  busy = true
  local function done()
    busy = false
    vim.schedule(ask_next)
  end
  if request.kind == 'approval' then
    approve(session, request, done)
  else
    answer(session, request, 1, {}, done)
  end
end

-- Nobody is to choose an option with a key that was meant for a text.
local function when_not_typing(action)
  local mode = vim.api.nvim_get_mode().mode
  if mode:find('^[ictR]') then
    vim.api.nvim_create_autocmd({ 'InsertLeave', 'CmdlineLeave', 'TermLeave' }, {
      once = true,
      callback = function()
        vim.schedule(action)
      end,
    })
  else
    action()
  end
end

--- Ask what a session asks, unless it was shown already.
---@param session table
function M.look(session)
  if not require('orch').config.approvals then
    return
  end
  for _, request in ipairs(session.inputRequests or {}) do
    if not asked[request.id] then
      asked[request.id] = true
      table.insert(queue, { session.id, request.id })
      when_not_typing(ask_next)
    end
  end
end

--- Ask what a session asks, even if it was shown before.
---@param session table
function M.answer(session)
  if #session.inputRequests == 0 then
    return client().tell(('%s asks nothing'):format(session.id))
  end
  for _, request in ipairs(session.inputRequests) do
    asked[request.id] = true
    table.insert(queue, { session.id, request.id })
  end
  ask_next()
end

return M
