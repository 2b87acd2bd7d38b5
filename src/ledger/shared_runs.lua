-- The middle of shared.lua: runs of pipelines (runs.h), which move as runs.c and runs_again.c say it. A group's tasks are pushed by the call in which the last
-- one of the group before ends. What is below is only made by calls that need it.

local RUN_COLUMNS = {'p', 's', 'ca', 'ac', 'due', 'c', 'st', 'e', 'gc', 'ag', 'tc', 'r', 'h', 'v'}
local PART_COLUMNS = {'g', 's', 't', 'a', 'st', 'e', 'n', 'w', 'r', 'x', 'm'}

local function make_runs()
  local WAITING, RUNNING, DONE, BROKEN, DROPPED = 0, 1, 2, 3, 4
  local P_WAITING, P_QUEUED, P_FINISHED, P_FAILED, P_CANCELED, P_SKIPPED = 0, 1, 2, 3, 4, 5
  local ops, begin_waiting = {}, nil

  local function run_key(run) return T .. 'R:' .. run end
  local function group_key(run) return T .. 'RG:' .. run end
  local function part_key(run, n) return T .. 'RT:' .. run .. ':' .. n end

  local function touch(run)
    C('HINCRBY', run_key(run), 'v', 1)
    tell('u', run)
  end

  local function load_run(run)
    local v = C('HMGET', run_key(run), 's', 'ag', 'o', 'b', 'gc', 'h', 'mr', 'mt', 'p', 'tc')
    if not v[1] then return nil end
    return {id = run, s = tonumber(v[1]), ag = tonumber(v[2]), o = tonumber(v[3]), b = tonumber(v[4]), gc = tonumber(v[5]), h = v[6], mr = tonumber(v[7]), mt = tonumber(v[8]), p = v[9],
            tc = tonumber(v[10])}
  end

  local function state_of(run, n) return tonumber(C('HGET', part_key(run, n), 's')) end

  -- And how many are in each state.
  local function set_state(run, n, from, to)
    C('HSET', part_key(run, n), 's', to)
    C('HINCRBY', run_key(run), 'k' .. from, -1)
    C('HINCRBY', run_key(run), 'k' .. to, 1)
    if to == P_FAILED or to == P_CANCELED then C('ZADD', T .. 'RB:' .. run, n, n)
    elseif from == P_FAILED or from == P_CANCELED then C('ZREM', T .. 'RB:' .. run, n) end
  end

  local function close(run, n, from, to, reason)
    set_state(run, n, from, to)
    C('HSET', part_key(run, n), 'e', now)
    if reason ~= '' then C('HSET', part_key(run, n), 'r', reason) else C('HDEL', part_key(run, n), 'r') end
  end

  local function reset(run, n, from)
    set_state(run, n, from, P_WAITING)
    C('HDEL', part_key(run, n), 't', 'e', 'r')
  end

  -- ---- groups ----

  local function range_of(run, g)
    local v = C('HMGET', group_key(run), g .. 'f', g .. 'c')
    local first = tonumber(v[1] or 0)
    return first, first + tonumber(v[2] or 0) - 1
  end

  local function push(r, n, limit)
    local id = string.format('%.0f', C('HINCRBY', meta, 'id', 1))
    local v = C('HMGET', part_key(r.id, n), 'q', 'pr', 'm', 'b', 'to', 'mem', 'pg', 'p')
    local rt = r.id .. ':' .. n
    local f = {'q', v[1], 'k', 'transformation', 'c', now, 'rt', rt, 'm', v[3], 'pg', v[7]}
    for i, name in pairs({[2] = 'pr', [4] = 'b', [5] = 'to', [6] = 'mem'}) do
      if v[i] ~= '0' then f[#f + 1] = name f[#f + 1] = v[i] end
    end
    if limit ~= '' then f[#f + 1] = 'lk' f[#f + 1] = limit end
    C('HSET', key(id), unpack(f))
    put_bytes(id, 'p', v[8])
    C('HSET', part_key(r.id, n), 't', id)
    C('HDEL', part_key(r.id, n), 'e', 'r')
    set_state(r.id, n, P_WAITING, P_QUEUED)
    make_ready(id, {q = v[1], lk = limit, pr = tonumber(v[2]), ra = 0, uk = '', kp = 0, nw = 0, a = 0, m = tonumber(v[3]), b = tonumber(v[4]), w = '', l = '0', rt = rt})
  end

  -- How many were queued.
  local function release(r, g)
    local first, last = range_of(r.id, g)
    local count, limit = 0, r.mt > 0 and 'run/' .. r.id or ''
    for n = first, last do
      if state_of(r.id, n) == P_WAITING then
        push(r, n, limit)
        count = count + 1
      end
    end
    if count == 0 then return 0 end
    if g ~= r.ag then
      C('HSET', group_key(r.id), g .. 'o', now)
      C('HDEL', group_key(r.id), g .. 'e')
    end
    C('HSET', run_key(r.id), 'ag', g)
    C('HINCRBY', run_key(r.id), 'o', count)
    C('HDEL', run_key(r.id), 'h')
    touch(r.id)
    return count
  end

  -- ---- how a run moves ----

  local function why_broken(run)
    local n = C('ZRANGE', T .. 'RB:' .. run, 0, 0)[1]
    if not n then return '' end
    local v = C('HMGET', part_key(run, n), 'n', 'r')
    local why = v[2] or ''
    if #why > 500 then why = string.gsub(string.sub(why, 1, 500), '[\192-\255][\128-\191]*$', '') end -- no piece of a character
    return string.sub(v[1], 1, 200) .. (v[2] and ': ' .. why or '')
  end

  local function end_run(r, how, reason)
    if reason == '' and how == BROKEN then reason = why_broken(r.id) end
    C('HSET', run_key(r.id), 's', how, 'e', now)
    C('HDEL', run_key(r.id), 'h')
    if reason ~= '' then C('HSET', run_key(r.id), 'r', reason) else C('HDEL', run_key(r.id), 'r') end
    C('ZREM', T .. 'RW:' .. r.p, r.id)
    C('ZREM', T .. 'RA:' .. r.p, r.id)
    C('ZADD', T .. 'runend', now, r.id)
    if r.mt > 0 then
      C('DEL', T .. 'L:run/' .. r.id)
      C('SREM', T .. 'limits', 'run/' .. r.id)
    end
    touch(r.id)
    begin_waiting(r.p)
  end

  -- Nothing is open: the next group with something to do, or the end.
  local function advance(run, begins)
    local r = load_run(run)
    if r.b > 0 and not begins then return end_run(r, BROKEN, '') end
    if r.ag + 1 < r.gc and C('HEXISTS', T .. 'paused', r.p) == 1 then
      C('HSET', run_key(run), 'h', 1)
      return touch(run)
    end
    for g = r.ag + 1, r.gc - 1 do
      if release(r, g) > 0 then return end
    end
    end_run(r, r.b > 0 and BROKEN or DONE, '')
  end

  local function begin(r)
    if r.mt > 0 then
      C('HSET', T .. 'L:run/' .. r.id, 'c', r.mt, 'rate', 0, 'per', 0)
      C('SADD', T .. 'limits', 'run/' .. r.id)
    end
    C('ZREM', T .. 'RW:' .. r.p, r.id)
    C('ZADD', T .. 'RA:' .. r.p, r.id, r.id)
    C('HSET', run_key(r.id), 's', RUNNING)
    C('HSETNX', run_key(r.id), 'st', now)
    C('HDEL', run_key(r.id), 'e', 'r')
    touch(r.id)
    advance(r.id, true)
  end

  begin_waiting = function(pipeline)
    if C('HEXISTS', T .. 'paused', pipeline) == 1 then return end
    while true do
      local run = C('ZRANGE', T .. 'RW:' .. pipeline, 0, 0)[1]
      if not run then return end
      local r = load_run(run)
      if not r then C('ZREM', T .. 'RW:' .. pipeline, run)
      elseif C('ZCARD', T .. 'RA:' .. pipeline) >= r.mr then return
      else begin(r) end
    end
  end

  -- Its attempt has ended, for good.
  function ops.part_ended(id, t, to, reason, result)
    local run, n = string.match(t.rt, '^(%d+):(%d+)$')
    local v, of = C('HMGET', part_key(run, n), 's', 't'), C('HMGET', key(id), 'a', 'st', 'w')
    if v[1] ~= '1' or v[2] ~= id then return end -- skipped meanwhile, or the run is forgotten
    close(run, n, P_QUEUED, to == FINISHED and P_FINISHED or to == FAILED and P_FAILED or P_CANCELED, reason)
    C('HSET', part_key(run, n), 'a', of[1] or 0, 'st', of[2] or 0, 'w', of[3] or '')
    if result ~= '' then C('HSET', part_key(run, n), 'x', result) else C('HDEL', part_key(run, n), 'x') end
    C('HINCRBY', run_key(run), 'o', -1)
    if to ~= FINISHED then C('HINCRBY', run_key(run), 'b', 1) end
    touch(run)
    local r = load_run(run)
    if r.s ~= RUNNING or r.o > 0 then return end
    C('HSET', group_key(run), r.ag .. 'e', now)
    advance(run, false)
  end

  -- ---- starting ----

  -- at least. Larger than all that were given out or used.
  function ops.run_reserve()
    local least, last = num(), tonumber(C('HGET', meta, 'run') or 0)
    local newest = tonumber(C('ZREVRANGE', T .. 'runs', 0, 0)[1] or 0)
    local id = math.max(least, last + 1, newest + 1)
    C('HSET', meta, 'run', string.format('%.0f', id))
    return {OK, id}
  end

  -- id, pipeline, cause, actor, due, most runs, most tasks, definition; groups, each: name, count; tasks of all groups, each: name, program, payload, queue, five numbers
  function ops.run_start()
    local run, pipeline, cause, actor, due, most_runs, most_tasks, definition = arg(), arg(), arg(), arg(), arg(), num(), num(), arg()
    if C('EXISTS', run_key(run)) == 1 then return {EXISTS} end
    local groups, n = num(), 0
    for g = 0, groups - 1 do
      local name, count = arg(), num()
      C('HSET', group_key(run), g .. 'n', name, g .. 'c', count, g .. 'f', n)
      for _ = 1, count do
        local part, pg, payload, q = arg(), arg(), arg(), arg()
        C('HSET', part_key(run, n), 'g', g, 's', P_WAITING, 'n', part, 'pg', pg, 'p', payload, 'q', q, 'pr', arg(), 'm', arg(), 'b', arg(), 'to', arg(), 'mem', arg())
        C('HSET', T .. 'RN:' .. run, part, n)
        n = n + 1
      end
    end
    C('HSET', run_key(run), 'p', pipeline, 's', WAITING, 'ca', cause, 'ac', actor, 'due', due, 'c', now, 'gc', groups, 'ag', -1, 'tc', n, 'o', 0, 'b', 0, 'mr', most_runs,
      'mt', most_tasks, 'v', 0, 'k0', n)
    C('SET', T .. 'RD:' .. run, definition)
    C('ZADD', T .. 'runs', run, run)
    C('ZADD', T .. 'RL:' .. pipeline, run, run)
    C('ZADD', T .. 'RW:' .. pipeline, run, run)
    begin_waiting(pipeline)
    return reply()
  end

  -- ---- what people do ----

  -- The run ends first, so that the ends of its tasks do not move it.
  function ops.run_cancel()
    local run, reason = arg(), arg()
    local r = load_run(run)
    if not r then return {NOT_FOUND} end
    if r.s >= DONE then return {CONFLICT, r.s} end
    end_run(r, DROPPED, reason ~= '' and reason or 'canceled')
    for n = 0, r.tc - 1 do
      local s = state_of(run, n)
      if s == P_WAITING then close(run, n, s, P_CANCELED, 'its run was canceled before it began')
      elseif s == P_QUEUED then
        local id = C('HGET', part_key(run, n), 't')
        local t = load(id)
        if t and t.s < FINISHED then cancel_task(id, t, 'its run was canceled') end
      end
    end
    return reply()
  end

  -- run, task, reason
  function ops.run_skip()
    local run, n, reason = arg(), arg(), arg()
    local r, s = load_run(run), state_of(run, n)
    if not r then return {NOT_FOUND} end
    if not s then return {NOT_FOUND, 1} end
    if s == P_FINISHED or s == P_SKIPPED then return {CONFLICT, s} end
    close(run, n, s, P_SKIPPED, reason)
    if s == P_QUEUED then
      local id = C('HGET', part_key(run, n), 't')
      local t = load(id)
      if t and t.s < FINISHED then cancel_task(id, t, 'it was skipped') end
      C('HINCRBY', run_key(run), 'o', -1)
    elseif s == P_FAILED or s == P_CANCELED then C('HINCRBY', run_key(run), 'b', -1) end
    touch(run)
    if r.s == RUNNING and s == P_QUEUED and r.o == 1 then advance(run, false) end
    return reply()
  end

  local function again_now(r)
    local first, last = range_of(r.id, r.ag)
    local bad = r.ag >= 0 and C('ZRANGEBYSCORE', T .. 'RB:' .. r.id, first, last) or {}
    if #bad == 0 then return {CONFLICT, r.s, 1} end
    for i = 1, #bad do reset(r.id, bad[i], state_of(r.id, bad[i])) end
    C('HINCRBY', run_key(r.id), 'b', -#bad)
    release(r, r.ag)
    return reply()
  end

  -- What is to run again waits; gives the group of the first that waits, nil: none does.
  local function reset_for(r, what, n)
    local from = what == 1 and tonumber(C('HGET', part_key(r.id, n), 'g')) or 0
    local first_group = nil
    for i = 0, r.tc - 1 do
      local v = C('HMGET', part_key(r.id, i), 's', 'g')
      local s, g = tonumber(v[1]), tonumber(v[2])
      local wanted = what == 0 and (s == P_FAILED or s == P_CANCELED) or what == 1 and g >= from or what == 2 and i == n
      if wanted and s ~= P_WAITING then
        reset(r.id, i, s)
        s = P_WAITING
      end
      if s == P_WAITING and (not first_group or g < first_group) then first_group = g end
    end
    return first_group
  end

  -- run, what (tt_run_again_what), task
  function ops.run_again()
    local run, what, n = arg(), num(), num()
    local r = load_run(run)
    if not r then return {NOT_FOUND} end
    if r.s == RUNNING and what == 0 then return again_now(r) end
    if r.s < DONE then return {CONFLICT, r.s, 0} end
    if what > 0 and not state_of(run, n) then return {NOT_FOUND, 1} end
    local g = reset_for(r, what, n)
    if not g then return {CONFLICT, r.s, 2} end
    C('HSET', run_key(run), 's', WAITING, 'ag', g - 1, 'o', 0, 'b', C('ZCARD', T .. 'RB:' .. run))
    C('HDEL', run_key(run), 'e', 'r', 'h')
    C('ZREM', T .. 'runend', run)
    C('ZADD', T .. 'RW:' .. r.p, run, run)
    touch(run)
    begin_waiting(r.p)
    return reply()
  end

  -- pipeline, 1: paused
  function ops.run_pause()
    local pipeline, paused = arg(), num() == 1
    if paused then
      C('HSETNX', T .. 'paused', pipeline, now)
      return {OK}
    end
    C('HDEL', T .. 'paused', pipeline)
    for _, run in ipairs(C('ZRANGE', T .. 'RA:' .. pipeline, 0, -1)) do
      if C('HEXISTS', run_key(run), 'h') == 1 then advance(run, false) end
    end
    begin_waiting(pipeline)
    return reply()
  end

  -- ---- forgetting ----

  local function drop_run(r)
    for n = 0, r.tc - 1 do C('DEL', part_key(r.id, n)) end
    C('DEL', run_key(r.id), group_key(r.id), T .. 'RD:' .. r.id, T .. 'RN:' .. r.id, T .. 'RB:' .. r.id)
    C('ZREM', T .. 'runs', r.id)
    C('ZREM', T .. 'RL:' .. r.p, r.id)
    C('ZREM', T .. 'runend', r.id)
  end

  function ops.run_delete()
    local r = load_run(arg())
    if not r then return {NOT_FOUND} end
    if r.s < DONE then return {CONFLICT, r.s} end
    drop_run(r)
    return {OK}
  end

  -- those that ended so long ago (ms), at most so many
  function ops.run_forget()
    local ids = C('ZRANGEBYSCORE', T .. 'runend', 0, now - num(), 'LIMIT', 0, num())
    for i = 1, #ids do
      local r = load_run(ids[i])
      if r then drop_run(r) else C('ZREM', T .. 'runend', ids[i]) end
    end
    return {OK, #ids}
  end

  -- ---- looking ----

  -- The number behind the columns.
  local function run_row(run)
    local v = C('HMGET', run_key(run), unpack(RUN_COLUMNS))
    if not v[1] then return nil end
    v[#RUN_COLUMNS + 1] = tonumber(run)
    return v
  end

  -- Behind the row: how many of its tasks are in each state.
  function ops.run_get()
    local run = arg()
    local r = run_row(run)
    if not r then return {NOT_FOUND} end
    return {OK, r, C('HMGET', run_key(run), 'k0', 'k1', 'k2', 'k3', 'k4', 'k5')}
  end

  -- pipeline (empty: all), before (0: from the newest), how many
  function ops.run_list()
    local pipeline, before, most = arg(), arg(), num()
    local ids = C('ZREVRANGEBYSCORE', T .. (pipeline == '' and 'runs' or 'RL:' .. pipeline), before == '0' and '+inf' or '(' .. before, '-inf', 'LIMIT', 0, most)
    local out = {OK}
    for i = 1, #ids do out[#out + 1] = run_row(ids[i]) end
    return out
  end

  -- While it is queued its attempt in the queue tells more: behind the columns the queue's state (-1: it is not there) and its progress.
  local function part_row(run, n)
    local v = C('HMGET', part_key(run, n), unpack(PART_COLUMNS))
    local state, progress = -1, ''
    if v[2] == '1' then
      local q = C('HMGET', key(v[3]), 's', 'a', 'st', 'w', 'r', 'g')
      if q[1] then state, v[4], v[5], v[8], v[9] = tonumber(q[1]), q[2], q[3], q[4], v[9] or q[5] end
      if q[6] then progress = q[6] == '@' and C('GET', T .. 'g:' .. v[3]) or string.sub(q[6], 2) end
    end
    v[12], v[13] = state, progress
    return v
  end

  -- run, from, how many
  function ops.run_tasks()
    local run, from, most = arg(), num(), num()
    local out = {OK}
    for n = from, math.min(from + most, tonumber(C('HGET', run_key(run), 'tc') or 0)) - 1 do out[#out + 1] = part_row(run, n) end
    return out
  end

  function ops.run_groups()
    local run = arg()
    local out = {OK}
    for g = 0, tonumber(C('HGET', run_key(run), 'gc') or 0) - 1 do out[#out + 1] = C('HMGET', group_key(run), g .. 'n', g .. 'f', g .. 'c', g .. 'o', g .. 'e') end
    return out
  end

  function ops.run_definition()
    local text = C('GET', T .. 'RD:' .. arg())
    if not text then return {NOT_FOUND} end
    return {OK, text}
  end

  -- run, name
  function ops.run_named()
    local n = C('HGET', T .. 'RN:' .. arg(), arg())
    if not n then return {NOT_FOUND} end
    return {OK, n}
  end

  function ops.run_paused() return {OK, C('HEXISTS', T .. 'paused', arg())} end

  return ops
end

local runs

part_ended = function(...)
  runs = runs or make_runs()
  runs.part_ended(...)
end

if string.sub(op, 1, 4) == 'run_' then
  runs = make_runs()
  return runs[op]()
end

