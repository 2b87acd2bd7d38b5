-- The second half of shared.lua: what workers and people do to tasks, and what time does.

-- ---- while claimed ----

local function wait_again(id, t, to, attempts, run_at, reason)
  C('HSET', key(id), 'a', attempts, 'ra', run_at)
  if reason ~= '' then C('HSET', key(id), 'r', reason) elseif t.r then C('HDEL', key(id), 'r') end
  if to == QUEUED then to_queued(id, t) return end
  to_scheduled(id, t, run_at)
  if t.lk ~= '' then C('SREM', T .. 'A:' .. t.lk, id) admit(t.lk) end
end

local function fail_attempt(id, t, reason, final)
  if final or t.a >= t.m then end_task(id, t, FAILED, reason, '') return end
  local delay, n = t.b, 1
  while n < t.a and delay < MAX_BACKOFF do delay = delay * 2 n = n + 1 end
  if delay > MAX_BACKOFF then delay = MAX_BACKOFF end
  wait_again(id, t, delay > 0 and SCHEDULED or QUEUED, t.a, now + delay, reason)
end

-- ---- time ----

local function expire(most)
  local ids = C('ZRANGEBYSCORE', T .. 'leases', '-inf', now, 'LIMIT', 0, most)
  for i = 1, #ids do
    local t = load(ids[i])
    if t and t.s == STARTED then fail_attempt(ids[i], t, 'lease expired', false) else C('ZREM', T .. 'leases', ids[i]) end
  end
  return #ids == most
end

local function queue_due(most)
  local ids = C('ZRANGEBYSCORE', T .. 'due', '-inf', now, 'LIMIT', 0, most)
  for i = 1, #ids do
    local t = load(ids[i])
    if t and t.s == SCHEDULED then make_ready(ids[i], t) else C('ZREM', T .. 'due', ids[i]) end
  end
  return #ids == most
end

local function fill_limits(most)
  local names = C('ZRANGEBYSCORE', T .. 'limdue', '-inf', now, 'LIMIT', 0, most)
  for i = 1, #names do admit(names[i]) end
  return #names == most
end

local function first_time(set)
  local v = C('ZRANGE', T .. set, 0, 0, 'WITHSCORES')
  return v[2] and tonumber(v[2]) or nil
end

-- In so many ms something waits for time; -1: nothing does.
local function next_time()
  local next = nil
  for _, set in ipairs({'leases', 'due', 'limdue'}) do
    local t = first_time(set)
    if t and (not next or t < next) then next = t end
  end
  return next and math.max(next - now, 0) or -1
end

local function expire_all() expire(20) queue_due(20) fill_limits(20) end

-- worker, lease ms, how many, 1 for slim rows, queues. Gives when something waits for time, then a row for each.
if op == 'claim' then
  local worker, lease_ms, most, slim, queues = arg(), num(), num(), num() == 1, num()
  local drained = C('EXISTS', T .. 'r:drain') == 1 and (C('HEXISTS', T .. 'r:drain', worker) == 1 or C('HEXISTS', T .. 'r:drain', '*') == 1)
  local ALONE, PROGRESSED = slim and 6 or 12, slim and 8 or PROGRESS
  local rows, ids, stop = {}, {}, false
  expire_all()
  C('ZADD', T .. 'wk', 'XX', now, worker)
  if drained then -- the word that woke it is for others
    for _ = 1, queues do
      local q = arg()
      if C('LLEN', T .. 'wake:' .. q) == 0 and C('EXISTS', T .. 'ready:' .. q) == 1 then wakes[q] = 1 end
    end
    flush()
    return {BUSY, next_time()}
  end
  local rests = C('EXISTS', T .. 'suspended') == 1
  for i = 1, queues do
    local q = arg()
    local taken, gone, room = {}, {}, most - #rows
    if rests and (C('SISMEMBER', T .. 'suspended', q) == 1 or C('SISMEMBER', T .. 'suspended', '*') == 1) then room = 0 end
    local ready = (room > 0 and not stop) and C('ZRANGE', T .. 'ready:' .. q, 0, room - 1) or {}
    for j = 1, #ready do
      local id = string.format('%.0f', tonumber(ready[j]))
      local r
      if slim then r = slim_row(id) else r = row(id, true) end
      if not r then gone[#gone + 1] = ready[j]
      elseif r[ALONE] and #rows > 0 then stop = true break
      else
        rows[#rows + 1] = r
        ids[#ids + 1] = id
        taken[#taken + 1] = ready[j]
        if r[ALONE] then stop = true break end
      end
    end
    if #taken > 0 then C('ZREM', T .. 'ready:' .. q, unpack(taken)) add(q, QUEUED, -#taken) add(q, STARTED, #taken) end
    if #gone > 0 then C('ZREM', T .. 'ready:' .. q, unpack(gone)) end
    if room > 0 and #ready == 0 then C('DEL', T .. 'wake:' .. q)
    elseif room > 0 and C('LLEN', T .. 'wake:' .. q) == 0 and C('EXISTS', T .. 'ready:' .. q) == 1 then wakes[q] = 1 end
  end
  if #rows == 0 then return reply(next_time()) end
  local lease = C('HINCRBY', meta, 'lease', #rows) - #rows
  local started, leases = {}, {}
  for i = 1, #rows do
    local r, id, token = rows[i], ids[i], string.format('%.0f', lease + i)
    local attempts = tonumber(r[2] or 0) + 1
    C('HSET', key(id), 's', STARTED, 'a', attempts, 'l', token, 'w', worker, 'st', now)
    if r[PROGRESSED] then put_bytes(id, 'g', '') end
    r[1], r[2], r[3], r[PROGRESSED] = STARTED, attempts, token, false
    if not slim then r[5], r[15] = now, worker end
    started[2 * i - 1], started[2 * i] = id, id
    leases[2 * i - 1], leases[2 * i] = now + lease_ms, id
    tell('c', id)
  end
  C('ZREM', T .. 's:' .. QUEUED, unpack(ids))
  C('ZADD', T .. 's:' .. STARTED, unpack(started))
  C('ZADD', T .. 'leases', unpack(leases))
  return reply(next_time(), unpack(rows))
end

-- for how long (ms), queues (none: all go on)
if op == 'suspend' then
  local ms, n = num(), num()
  C('DEL', T .. 'suspended')
  for i = 1, n do C('SADD', T .. 'suspended', arg()) end
  if n > 0 then C('PEXPIRE', T .. 'suspended', ms)
  else
    for _, q in ipairs(C('SMEMBERS', T .. 'queues')) do
      if C('EXISTS', T .. 'ready:' .. q) == 1 then wakes[q] = TOKENS end
    end
  end
  return reply()
end

-- ---- changes of single tasks ----

local function release(id, t, delay, reason, alone)
  wait_again(id, t, delay > 0 and SCHEDULED or QUEUED, math.max(t.a - 1, 0), delay > 0 and now + delay or t.ra, reason)
  if alone then C('HSET', key(id), 'al', 1) end
end

local function drop(id, t)
  leave(id, t)
  C('ZREM', T .. 's:' .. t.s, id)
  add(t.q, t.s, -1)
  C('DEL', key(id), T .. 'p:' .. id, T .. 'x:' .. id, T .. 'g:' .. id, T .. 'log:' .. id, T .. 'w:' .. id)
  tell('c', id)
end

-- Each takes id, t, lease, text, number, flag, and gives a code. fenced: only for whoever holds the present claim.
local verbs = {
  finish = {fenced = true, run = function(id, t, lease, text) end_task(id, t, FINISHED, '', text) return OK end},
  fail = {fenced = true, run = function(id, t, lease, text, n, flag) fail_attempt(id, t, text, flag) return OK end},
  release = {fenced = true, run = function(id, t, lease, text, n, flag) release(id, t, n, text, flag) return OK end},
  extend = {fenced = true, run = function(id, t, lease, text, n) C('ZADD', T .. 'leases', now + n, id) return OK end},
  progress = {fenced = true, run = function(id, t, lease, text) put_bytes(id, 'g', text) tell('c', id) return OK end},
  note = {run = function(id, t, lease, text)
    if t.s == CANCELED and t.l == lease then C('HSET', key(id), 'r', t.r and t.r .. '; ' .. text or text) end
    return OK
  end},
  cancel = {run = function(id, t, lease, text)
    if t.s >= FINISHED then return CONFLICT end
    cancel_task(id, t, text)
    return OK
  end},
  retry = {run = function(id, t)
    if t.rt or t.s ~= FAILED and t.s ~= CANCELED then return CONFLICT end
    if t.uk ~= '' then
      if C('HEXISTS', T .. 'u', t.uk) == 1 then return EXISTS end
      C('HSET', T .. 'u', t.uk, id)
    end
    C('HSET', key(id), 'a', 0)
    C('HDEL', key(id), 'e', 'x', 'g')
    C('DEL', T .. 'x:' .. id, T .. 'g:' .. id)
    make_ready(id, t)
    return OK
  end},
  delete = {run = function(id, t)
    if t.s < FINISHED then return CONFLICT end
    drop(id, t)
    return OK
  end},
}
local done_by = {}

local function one(verb, id, lease, text, n, flag)
  local v, t = verbs[verb], load(id)
  if not t then return NOT_FOUND, 0 end
  local code = OK
  local was, by = t.s, t.w
  if v.fenced and (t.s ~= STARTED or t.l ~= lease) then
    C('HINCRBY', meta, 'refused', 1)
    return (t.s == CANCELED and t.l == lease) and CANCELLED or GONE, was
  end
  code = v.run(id, t, lease, text, n, flag)
  if code == OK and v.fenced and (verb == 'finish' or verb == 'fail') then
    local k = by .. (verb == 'finish' and '\ndone' or '\nfailed')
    done_by[k] = (done_by[k] or 0) + 1
  end
  return code, was
end

-- So many of: verb, id, lease, text, number, flag. Gives for each a code, and the state before.
if op == 'do' then
  local codes = {}
  for i = 1, num() do
    local verb, id, lease, text, n, flag = arg(), arg(), arg(), arg(), num(), arg() == '1'
    codes[2 * i - 1], codes[2 * i] = one(verb, id, lease, text, n, flag)
  end
  flush_finished()
  for k, n in pairs(done_by) do
    local name, field = string.match(k, '^(.*)\n(%a+)$')
    if C('EXISTS', T .. 'wk:' .. name) == 1 then C('HINCRBY', T .. 'wk:' .. name, field, n) end
  end
  return reply(unpack(codes))
end

local function forget(set, until_ms, most)
  local ids = C('ZRANGEBYSCORE', T .. set, '-inf', until_ms, 'LIMIT', 0, most)
  for i = 1, #ids do
    local t = load(ids[i])
    if t and t.s >= FINISHED then drop(ids[i], t) else C('ZREM', T .. set, ids[i]) end
  end
  return #ids == most
end

-- keep finished ones, keep failed ones (ms, -1: for ever), how many of each end (0: any number)
if op == 'tick' then
  local keep, keep_failed, most = num(), num(), num()
  local more = expire(AT_ONCE)
  more = queue_due(AT_ONCE) or more
  more = fill_limits(AT_ONCE) or more
  more = forget('exp', now, AT_ONCE) or more
  local next = nil
  for s = FINISHED, CANCELED do
    local ms = s == FAILED and keep_failed or keep
    if ms >= 0 then more = forget('end:' .. s, now - ms, AT_ONCE) or more end
    local surplus = most > 0 and C('ZCARD', T .. 'end:' .. s) - most or 0
    if surplus > 0 then
      local ids = C('ZRANGE', T .. 'end:' .. s, 0, math.min(surplus, AT_ONCE) - 1)
      for i = 1, #ids do drop(ids[i], load(ids[i])) end
      more = more or surplus > AT_ONCE
    end
    local first = first_time('end:' .. s)
    if first and ms >= 0 then
      local at_ms = math.max(first + ms, now + 60000)
      if not next or at_ms < next then next = at_ms end
    end
  end
  local exp = first_time('exp')
  if exp and (not next or exp < next) then next = exp end
  local soon = next_time()
  if next and (soon < 0 or next - now < soon) then soon = math.max(next - now, 0) end
  local silent = C('ZRANGEBYSCORE', T .. 'wk', '-inf', now - 600000, 'LIMIT', 0, 10)
  for i = 1, #silent do C('ZREM', T .. 'wk', silent[i]) C('DEL', T .. 'wk:' .. silent[i]) end
  return reply(more and 0 or soon)
end

-- ---- workers ----

-- In the order in which they were claimed.
local function hands_of(name)
  local hands = {}
  for _, id in ipairs(C('ZRANGE', T .. 's:' .. STARTED, 0, -1)) do
    local v = C('HMGET', key(id), 'w', 'l')
    if v[1] == name then hands[#hands + 1] = {id = id, l = tonumber(v[2])} end
  end
  table.sort(hands, function(a, b) return a.l < b.l end)
  return hands
end

local function give_back(name, died, last_end)
  local hands = hands_of(name)
  for i, h in ipairs(hands) do
    local t = load(h.id)
    if died and i == 1 then
      local why, log = 'its worker died' .. (last_end ~= '' and ': ' .. last_end or ''), T .. 'log:' .. h.id
      local tail = C('GETRANGE', log, -400, -1)
      if tail ~= '' then why = why .. ': its log ends: ' .. string.gsub(tail, '%s+$', '') end
      fail_attempt(h.id, t, why, false)
      if #hands > 1 and C('HGET', key(h.id), 's') ~= tostring(FAILED) then C('HSET', key(h.id), 'al', 1) end
    else release(h.id, t, 0, '', died and #hands > 1) end
  end
end

-- name, pid, instance, host, queues, how the one before it ended
if op == 'attach' then
  local name, pid, instance, host, queues, last_end = arg(), arg(), arg(), arg(), arg(), arg()
  local was = C('HGET', T .. 'wk:' .. name, 'instance')
  give_back(name, was ~= false and was ~= instance, last_end)
  C('HSET', T .. 'wk:' .. name, 'pid', pid, 'instance', instance, 'host', host, 'q', queues)
  if was ~= instance then C('HSET', T .. 'wk:' .. name, 'since', now) end
  C('ZADD', T .. 'wk', now, name)
  C('DEL', T .. 'cmd:' .. name)
  return reply()
end

if op == 'detach' then
  local name, instance = arg(), arg()
  if C('HGET', T .. 'wk:' .. name, 'instance') ~= instance then return {NOT_FOUND} end
  give_back(name, false, '')
  C('DEL', T .. 'wk:' .. name, T .. 'cmd:' .. name)
  C('ZREM', T .. 'wk', name)
  return reply()
end
