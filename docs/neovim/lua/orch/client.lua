--- The connection: one language client for the whole of Neovim, its events, and the way back when the hub died.
local M = {}

local PROTOCOL = 1
local HUB_DIED = 75
local MOST_RESTARTS = 5

local id ---@type integer?
local last_seq ---@type integer?
local restarts = 0
local starting = false

local function config()
  return require('orch').config
end

--- Tell the user something.
---@param message string
---@param level? integer
function M.tell(message, level)
  vim.schedule(function()
    vim.notify('orch: ' .. message, level or vim.log.levels.INFO)
  end)
end

--- Tell news around a title that is shortened to leave them on one line: no key is to be pressed before it goes on.
---@param before string
---@param title string
---@param after? string
---@param level? integer
function M.news(before, title, after, level)
  after = after or ''
  local room = math.max(10, vim.v.echospace - vim.fn.strdisplaywidth('orch: ' .. before .. after))
  title = title:gsub('%s+', ' ')
  if vim.fn.strdisplaywidth(title) > room then
    while vim.fn.strdisplaywidth(title) > room - 1 do
      title = vim.fn.strcharpart(title, 0, vim.fn.strchars(title) - 1)
    end
    title = title .. '…'
  end
  M.tell(before .. title .. after, level)
end

---@return vim.lsp.Client?
function M.running()
  local client = id and vim.lsp.get_client_by_id(id)
  return client and not client:is_stopped() and client or nil
end

local function on_event(_, params)
  last_seq = math.max(last_seq or 0, params.event.seq)
  require('orch.sessions').take(params.event)
end

local function subscribe(client)
  client:request('orch/event/subscribe', {
    after = last_seq,
    types = { 'session.*', 'input.*' },
  }, function(error, result)
    if error then
      return M.tell(error.message, vim.log.levels.ERROR)
    end
    last_seq = last_seq or result.lastSeq
    require('orch.sessions').load()
  end)
end

-- What a lens or a code action names is done here with windows of Neovim; the rest is left to the server.
local function local_commands()
  local function of_session(verb)
    return function(command)
      local given = command.arguments and command.arguments[1] or {}
      require('orch.commands')[verb](given.session, given)
    end
  end
  return {
    ['orch.sessions'] = function()
      require('orch.list').open()
    end,
    ['orch.diff'] = of_session('diff'),
    ['orch.open'] = of_session('open'),
    ['orch.transcript'] = of_session('transcript'),
    ['orch.show'] = of_session('show'),
    ['orch.compare'] = function(command)
      require('orch.diff').collision(command.arguments[1].collision)
    end,
    ['orch.send'] = function(command)
      require('orch.commands').start(command.arguments[1])
    end,
  }
end

-- Neovim gives a server the diagnostics that came from that server. Agents are asked about those of all the others.
local function with_all_diagnostics(client)
  local request = client.request
  client.request = function(self, method, params, ...)
    if method == 'textDocument/codeAction' then
      local buffer = vim.uri_to_bufnr(params.textDocument.uri)
      local first, last = params.range.start.line, params.range['end'].line
      local found = vim.tbl_filter(function(item)
        return item.lnum <= last and (item.end_lnum or item.lnum) >= first and item.source ~= 'orch'
      end, vim.diagnostic.get(buffer))
      params = vim.deepcopy(params)
      vim.list_extend(params.context.diagnostics, vim.lsp.diagnostic.from(found))
    end
    return request(self, method, params, ...)
  end
end

local function on_exit(code, signal)
  id = nil
  vim.schedule(function()
    require('orch.sessions').disconnected()
    if code == HUB_DIED and restarts < MOST_RESTARTS then
      restarts = restarts + 1
      vim.defer_fn(M.start, 200 * restarts)
    elseif code ~= 0 and signal ~= 15 then
      M.tell(('the server ended (%d); :Orch starts it again, :checkhealth orch says more'):format(code), vim.log.levels.WARN)
    end
  end)
end

local function attachable(buffer)
  return vim.api.nvim_buf_is_loaded(buffer)
    and vim.bo[buffer].buftype == ''
    and vim.api.nvim_buf_get_name(buffer) ~= ''
    and not vim.api.nvim_buf_get_name(buffer):find('^%a+://')
end

local function settings()
  local capabilities = vim.lsp.protocol.make_client_capabilities()
  capabilities.workspace.codeLens = { refreshSupport = true }
  capabilities.workspace.textDocumentContent = { dynamicRegistration = false }
  return {
    name = 'orch',
    cmd = config().cmd,
    root_dir = vim.fs.root(0, '.git') or vim.fn.getcwd(),
    capabilities = capabilities,
    init_options = {
      protocolVersion = PROTOCOL,
      commands = true,
      actions = true,
      lenses = config().codelens,
      progress = true,
    },
    handlers = {
      ['orch/event'] = on_event,
      ['orch/event/lost'] = function(_, params)
        last_seq = params.resumeAfter
        local client = M.running()
        if client then
          subscribe(client)
        end
      end,
      ['workspace/codeLens/refresh'] = function()
        M.refresh_lenses()
        return vim.NIL
      end,
      ['workspace/textDocumentContent/refresh'] = function(_, params)
        require('orch.pages').refresh(params.uri)
        return vim.NIL
      end,
    },
    commands = local_commands(),
    on_attach = function(client, buffer)
      if config().codelens then
        vim.api.nvim_create_autocmd('InsertLeave', {
          buffer = buffer,
          group = vim.api.nvim_create_augroup('orch.lenses.' .. buffer, {}),
          callback = function()
            M.refresh_lenses()
          end,
        })
        M.refresh_lenses()
      end
    end,
    on_init = function(client)
      restarts = 0
      with_all_diagnostics(client)
      subscribe(client)
    end,
    on_exit = on_exit,
  }
end

local function reuse(client)
  return client.name == 'orch' and not client:is_stopped()
end

--- Start the client, or return the one that runs.
---@return vim.lsp.Client?
function M.start()
  local present = M.running()
  if present then
    return present
  end
  if vim.fn.executable(config().cmd[1]) == 0 then
    M.tell(config().cmd[1] .. ' is not on your PATH; install orch, or give `cmd` to setup()', vim.log.levels.ERROR)
    return nil
  end
  if starting then
    return nil
  end
  starting = true
  id = vim.lsp.start(settings(), { attach = false, reuse_client = reuse })
  starting = false
  for _, buffer in ipairs(config().attach and vim.api.nvim_list_bufs() or {}) do
    M.attach(buffer)
  end
  return M.running()
end

--- Attach a buffer of a file.
---@param buffer integer
function M.attach(buffer)
  if attachable(buffer) then
    local client = M.start()
    if client and not client.attached_buffers[buffer] then
      vim.lsp.buf_attach_client(buffer, client.id)
    end
  end
end

--- Send a request; `done` gets its result, and an error is told.
---@param method string
---@param params table
---@param done? fun(result: any)
---@param failed? fun(error: table)
function M.request(method, params, done, failed)
  local client = M.start()
  if not client then
    return
  end
  local function send()
    client:request(method, params, function(error, result)
      vim.schedule(function()
        if not error then
          if done then
            done(result)
          end
        elseif failed then
          failed(error)
        else
          local hint = type(error.data) == 'table' and error.data.hint or ''
          M.tell(vim.trim(error.message .. ' ' .. (hint or '')), vim.log.levels.ERROR)
        end
      end)
    end)
  end
  if client.initialized then
    return send()
  end
  -- The client sends nothing before it is initialized.
  local timer = assert(vim.uv.new_timer())
  timer:start(10, 10, vim.schedule_wrap(function()
    if timer:is_closing() then
      return
    end
    if client.initialized or client:is_stopped() then
      timer:close()
      if client.initialized then
        send()
      end
    end
  end))
end

--- Ask for the code lenses of every attached file anew.
function M.refresh_lenses()
  local client = M.running()
  if not client or not config().codelens then
    return
  end
  for buffer in pairs(client.attached_buffers) do
    if vim.api.nvim_buf_is_loaded(buffer) then
      vim.lsp.codelens.refresh({ bufnr = buffer })
    end
  end
end

--- End the connection; agents work on.
function M.stop()
  local client = M.running()
  if client then
    client:stop()
  end
end

return M
