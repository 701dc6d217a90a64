--- What a session changed: side by side in tabs, and as a quickfix list.
local M = {}

local function client()
  return require('orch.client')
end

-- Return the first line that each hunk of a patch changes, in the session's own count.
local function hunks(patch)
  local found = {}
  local line
  local counted = false
  for text in vim.gsplit(patch, '\n', { plain = true }) do
    local start = text:match('^@@ %-%d+,?%d* %+(%d+)')
    if start then
      line, counted = tonumber(start), false
    elseif line then
      local kind = text:sub(1, 1)
      if (kind == '+' or kind == '-') and not counted then
        counted = true
        table.insert(found, { line = math.max(1, line), text = text })
      elseif kind == ' ' then
        counted = false
      end
      if kind == '+' or kind == ' ' then
        line = line + 1
      end
    end
  end
  return found
end

local function get(session_id, options, done)
  local params = { session = session_id, paths = options.paths, against = options.against }
  client().request('orch/session/diff', params, function(diff)
    client().request('orch/session/get', { session = session_id }, function(session)
      if #diff.files == 0 then
        return client().tell(session.id .. ' changed nothing')
      end
      local root = session.worktreePath
      if root == vim.NIL or root == nil then
        root = nil
      end
      done(session, diff, root)
    end)
  end)
end

local function fill_quickfix(session, diff, root)
  local items = {}
  for _, file in ipairs(diff.files) do
    local name = root and vim.fs.joinpath(root, file.path) or file.path
    local said = ('%s +%d -%d'):format(file.status, file.insertions, file.deletions)
    local places = file.patch ~= vim.NIL and file.status ~= 'deleted' and hunks(file.patch or '') or {}
    if #places == 0 then
      places = { { line = 1, text = '' } }
    end
    for _, place in ipairs(places) do
      table.insert(items, { filename = name, lnum = place.line, text = vim.trim(said .. '  ' .. place.text) })
    end
  end
  vim.fn.setqflist({}, ' ', { title = ('orch %s: %s'):format(session.id, session.title), items = items })
end

--- Fill the quickfix list with the places that a session changed, and open it.
---@param session_id string
---@param options? table
function M.quickfix(session_id, options)
  get(session_id, options or {}, function(session, diff, root)
    fill_quickfix(session, diff, root)
    vim.cmd('botright copen')
  end)
end

local function show_beside(session, file, root)
  local before = file.oldPath ~= vim.NIL and file.oldPath or file.path
  if file.status == 'deleted' then
    vim.cmd('tabnew')
    vim.bo.buftype, vim.bo.bufhidden = 'nofile', 'wipe'
  else
    vim.cmd('tabedit ' .. vim.fn.fnameescape(vim.fs.joinpath(root, file.path)))
  end
  vim.cmd('diffthis')
  if file.status == 'added' then
    vim.cmd('leftabove vnew')
    vim.bo.buftype, vim.bo.bufhidden = 'nofile', 'wipe'
  else
    local uri = vim.uri_from_fname('/' .. before):gsub('^file:///', '')
    vim.cmd('leftabove vsplit ' .. vim.fn.fnameescape(require('orch.pages').name(session.id, 'base/' .. uri)))
  end
  vim.cmd('diffthis')
  vim.cmd('wincmd p')
end

--- Show each changed file beside how it was where the session began, a tab a file; the quickfix list has them all.
---@param session_id string
---@param options? table
function M.tabs(session_id, options)
  get(session_id, options or {}, function(session, diff, root)
    fill_quickfix(session, diff, root)
    if not root then
      return require('orch.pages').show(session.id, 'changes.patch')
    end
    local most = require('orch').config.diff_tabs
    for number, file in ipairs(diff.files) do
      if number > most then
        client().tell(('%d more files are in the quickfix list'):format(#diff.files - most))
        break
      end
      if not file.binary then
        show_beside(session, file, root)
      end
    end
  end)
end

--- Show both sides of a collision beside each other, a tab a file.
---@param collision_id string
function M.collision(collision_id)
  client().request('workspace/executeCommand', {
    command = 'orch.compare',
    arguments = { { collision = collision_id, show = false } },
  }, function(found)
    for _, file in ipairs(found.files) do
      if file.left ~= vim.NIL and file.right ~= vim.NIL then
        vim.cmd('tabedit ' .. vim.fn.fnameescape(file.left))
        vim.cmd('diffthis')
        vim.cmd('rightbelow vsplit ' .. vim.fn.fnameescape(file.right))
        vim.cmd('diffthis')
      else
        -- One side has no such file: what it did instead is in the page.
        require('orch.pages').show(found.session, 'collisions.patch')
      end
    end
  end)
end

--- Fill the quickfix list with the places that would not merge.
---@param session_id? string
function M.collisions(session_id)
  client().request('orch/collision/list', { session = session_id }, function(found)
    if #found.items == 0 then
      return client().tell('everything would merge')
    end
    local items = {}
    for _, collision in ipairs(found.items) do
      local session = require('orch.sessions').by_id[collision.sessions[1]] or { title = '' }
      local root = session.worktreePath
      local other = collision.sessions[2] ~= vim.NIL and collision.sessions[2] or 'the ' .. collision.against
      local said = ('%s (%s) and %s'):format(collision.sessions[1], session.title, other)
      for _, file in ipairs(collision.files) do
        local name = root and root ~= vim.NIL and vim.fs.joinpath(root, file.path) or file.path
        local hunks_ = #file.hunks > 0 and file.hunks or { false }
        for _, hunk in ipairs(hunks_) do
          local side = hunk and hunk.sides[1] or { startLine = 1, endLine = 1 }
          table.insert(items, {
            filename = name,
            lnum = math.max(1, side.startLine),
            end_lnum = math.max(1, side.endLine),
            type = 'W',
            text = ('%s: %s'):format(file.kind:gsub('_', '/'), said),
          })
        end
      end
    end
    vim.fn.setqflist({}, ' ', { title = 'orch collisions', items = items })
    vim.cmd('botright copen')
  end)
end

return M
