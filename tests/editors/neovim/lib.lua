-- What the scenarios share. Run by `nvim --headless -l SCENARIO`; the first failure ends Neovim with code 1.
local M = { said = {}, chosen = {} }

local PATIENCE = 60000

function M.fail(message)
  io.stderr:write('FAIL ' .. message .. '\nmessages: ' .. table.concat(M.said, '\n  ') .. '\n')
  os.exit(1)
end

function M.expect(condition, what)
  if not condition then
    M.fail(debug.traceback(what))
  end
  return condition
end

--- Wait for a condition and return its value.
function M.wait(condition, what)
  local value
  vim.wait(PATIENCE, function()
    value = condition()
    return value
  end, 10)
  return M.expect(value, 'waited in vain: ' .. what)
end

--- Run `orch ...` as a person at a terminal does, and return what it prints.
function M.orch(...)
  local done
  vim.system({ 'orch', ... }, { text = true }, function(result)
    done = result
  end)
  M.wait(function()
    return done
  end, 'orch ' .. table.concat({ ... }, ' '))
  M.expect(done.code == 0, ('orch %s: %d %s'):format(table.concat({ ... }, ' '), done.code, done.stderr))
  return done.stdout
end

function M.session(id)
  return vim.json.decode(M.orch('sessions', 'show', id, '--json'))
end

function M.lines(buffer)
  return table.concat(vim.api.nvim_buf_get_lines(buffer or 0, 0, -1, false), '\n')
end

--- Answer every vim.ui.select by this function (items, options) -> item, and keep what was asked.
function M.choose(choice)
  vim.ui.select = function(items, options, done)
    table.insert(M.chosen, { items = items, prompt = options.prompt })
    local item = choice(items, options)
    vim.schedule(function()
      done(item)
    end)
  end
end

vim.notify = function(message)
  table.insert(M.said, message)
end

function M.told(pattern)
  return M.wait(function()
    for _, message in ipairs(M.said) do
      local found = message:match(pattern)
      if found then
        return found
      end
    end
  end, 'a message like ' .. pattern)
end

return M
