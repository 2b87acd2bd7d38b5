-- All that is ever done to a shared ledger (shared.h), one operation a call, each whole or not at all, with Redis' clock. One script in three files, in
-- this order: shared.lua (looking, records, how tasks move), shared_runs.lua (runs of pipelines), shared_queue.lua (what workers and people do to tasks).
--   ARGV: the operation, the epoch that the caller knows, the operation's own arguments
--   reply: {code, ...}: 0, a result code of base/rc.def, or -1 (another epoch is in force: it follows, empty when there is none)
--
-- Keys, all below `tutti:`
--   meta                     hash: epoch; id, lease: the last ones given out; refused: words under an old lease
--   t:ID                     hash, a task; absent fields are 0 or empty. s state (queue.h)  q queue  k kind  pr priority  a attempts  m at most  b back-off
--                            l lease  w worker  c, st, e created, started, ended  ra run at  to timeout  mem memory  kp keep  r reason  pg program  uk unique key
--                            lk limit  nw waits for so many  ww some may wait for it  h held by its limit  al to be claimed alone  rt RUN:N, when it is an attempt at a run's task; p payload, x result, g progress: `=BYTES`, or `@`: in p:ID, x:ID, g:ID
--   s:STATE                  sorted set: the tasks in a state, by number; n:QUEUE: hash, how many of a queue are in each; queues: set
--   ready:QUEUE              sorted set: what may be claimed, by priority, then age; wake:QUEUE: list, what workers wait at
--   due, leases, end:STATE, exp     sorted sets by time: scheduled ones; leases' ends; ended ones; ended ones with a time of their own
--   w:ID set: who waits for it;  u hash: unique keys;  L:KEY hash: a limit;  h:KEY what it holds;  A:KEY what it has let through;  limits set;  limdue by time
--   suspended                set: queues of which nothing is given out (`*`: any), for a while
--   R:ID hash: a run, in RUN_COLUMNS (shared_runs.lua); RD:ID its definition; RG:ID hash: its groups, GROUP and f first, c count, n name, o opened, e ended
--   RT:ID:N hash: a task of it (g group; other letters as of tasks); RN:ID hash: names and numbers; RB:ID sorted set: those that failed or were canceled
--   RW:PIPELINE, RA:PIPELINE, RL:PIPELINE  sorted sets of runs: that wait, that run, all; runs: all of all; runend by time; paused hash: pipelines since when
--   log:ID                   string; r:KIND hash, rn:KIND sorted set: records, and their names in order
--   wk sorted set: workers by when they were heard of;  wk:NAME hash;  cmd:NAME list: tasks in its hands that were canceled
--   events                   channel: e (ended), c (changed), l (log), r (something is ready), t (something waits for a time), u (a run), each with a number
local T, C = 'tutti:', redis.call
local meta = T .. 'meta'
local time = C('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
local DEFERRED, SCHEDULED, QUEUED, STARTED, FINISHED, FAILED, CANCELED = 0, 1, 2, 3, 4, 5, 6
local OK, NOT_FOUND, EXISTS, CONFLICT, BUSY, CANCELLED, GONE = 0, 4, 5, 6, 12, 19, 23
local MAX_BACKOFF, SMALL, TOKENS, AT_ONCE = 3600000, 60, 64, 500
local COLUMNS = {'s', 'a', 'l', 'c', 'st', 'e', 'pr', 'm', 'ra', 'to', 'mem', 'al', 'q', 'k', 'w', 'r', 'pg', 'uk', 'lk', 'x', 'g', 'p'}
local RESULT, PROGRESS, PAYLOAD = 20, 21, 22
local at = 2
local part_ended -- of shared_runs.lua

local function arg() at = at + 1 return ARGV[at] end
local function num() return tonumber(arg()) end

-- ---- the epoch ----

local op, epoch = ARGV[1], C('HGET', meta, 'epoch')

-- a candidate for the epoch, empty: look only; the least number of a first task
if op == 'begin' then
  if not epoch and ARGV[3] ~= '' then
    epoch = ARGV[3]
    C('HSET', meta, 'epoch', epoch, 'schema', 1, 'id', tonumber(ARGV[4]) - 1, 'lease', string.format('%.0f', now_us), 'since', now)
    return {OK, epoch, 1}
  end
  return {OK, epoch or '', 0}
end
if epoch ~= ARGV[2] then return {-1, epoch or ''} end

-- ---- looking; an operation ends where its block does, so that what none of them needs is not even made ----

local function key(id) return T .. 't:' .. id end

-- What a worker needs, in this order, the number behind it.
local function slim_row(id)
  local v = C('HMGET', key(id), 's', 'a', 'l', 'to', 'mem', 'al', 'k', 'g', 'p')
  if not v[1] then return nil end
  if v[9] == '@' then v[9] = '=' .. (C('GET', T .. 'p:' .. id) or '') end
  v[10] = tonumber(id)
  return v
end

-- In COLUMNS' order, the number behind it. bytes: payload and result too.
local function row(id, bytes)
  local v = C('HMGET', key(id), unpack(COLUMNS))
  if not v[1] then return nil end
  if v[PROGRESS] == '@' then v[PROGRESS] = '=' .. (C('GET', T .. 'g:' .. id) or '') end
  if not bytes then v[RESULT] = false v[PAYLOAD] = false end
  if v[RESULT] == '@' then v[RESULT] = '=' .. (C('GET', T .. 'x:' .. id) or '') end
  if v[PAYLOAD] == '@' then v[PAYLOAD] = '=' .. (C('GET', T .. 'p:' .. id) or '') end
  v[#COLUMNS + 1] = tonumber(id)
  return v
end

if op == 'get' then
  local r = row(arg(), true)
  if not r then return {NOT_FOUND} end
  return {OK, r, tonumber(C('ZSCORE', T .. 'leases', ARGV[3]) or now) - now}
end

if op == 'lease' then
  local v = C('HMGET', key(arg()), 's', 'l')
  if not v[1] then return {NOT_FOUND} end
  return {OK, tonumber(v[1]), v[2] or '0'}
end

-- state (-1: any), queue, kind, program, before, how many, looks. Gives where to go on (0: that was all), then rows.
if op == 'list' then
  local state, q, k, pg, before, most, looks = num(), arg(), arg(), arg(), arg(), num(), num()
  local ids = {}
  for s = DEFERRED, CANCELED do
    if state == -1 or state == s then
      local some = C('ZREVRANGEBYSCORE', T .. 's:' .. s, before == '0' and '+inf' or '(' .. before, '-inf', 'LIMIT', 0, looks)
      for i = 1, #some do ids[#ids + 1] = tonumber(some[i]) end
    end
  end
  table.sort(ids, function(a, b) return a > b end)
  local rows, looked = {}, 0
  for i = 1, math.min(#ids, looks) do
    if #rows == most then break end
    looked = i
    local v = row(string.format('%.0f', ids[i]), false)
    if v and (q == '' or v[13] == q) and (k == '' or v[14] == k) and (pg == '' or v[17] == pg) then rows[#rows + 1] = v end
  end
  local all = looked == #ids and #ids < looks
  return {OK, (all or looked == 0) and 0 or ids[looked], unpack(rows)}
end

local function age(id)
  local v = id and C('HMGET', key(id), 'c', 'ra') or {}
  return v[1] and math.max(now - math.max(tonumber(v[1]), tonumber(v[2] or 0)), 0) or 0
end

-- Of the first ones alone: the oldest of a higher priority, mostly.
local function oldest_of(q)
  local oldest = nil
  for _, m in ipairs(C('ZRANGE', T .. 'ready:' .. q, 0, 99)) do
    local id = tonumber(m)
    if not oldest or id < oldest then oldest = id end
  end
  return oldest and age(string.format('%.0f', oldest)) or 0
end

-- queue (empty: all). Gives how many are in each state, and the age of the oldest queued one.
if op == 'count' then
  local q, out = arg(), {OK}
  for s = DEFERRED, CANCELED do
    out[s + 2] = q == '' and C('ZCARD', T .. 's:' .. s) or tonumber(C('HGET', T .. 'n:' .. q, s) or 0)
  end
  out[9] = q ~= '' and oldest_of(q) or age(C('ZRANGE', T .. 's:' .. QUEUED, 0, 0)[1])
  return out
end

if op == 'oldest' then return {OK, age(C('ZRANGE', T .. 's:' .. QUEUED, 0, 0)[1])} end

if op == 'queues' then
  local out = {OK}
  for _, q in ipairs(C('SMEMBERS', T .. 'queues')) do
    local v, sum, all = C('HMGET', T .. 'n:' .. q, 0, 1, 2, 3, 4, 5, 6), 0, 0
    for s = 1, 7 do
      v[s] = tonumber(v[s] or 0)
      all = all + v[s]
      if s <= 4 then sum = sum + v[s] end
    end
    if sum > 0 then out[#out + 1] = {q, v[1], v[2], v[3], v[4], oldest_of(q)}
    elseif all == 0 then C('SREM', T .. 'queues', q) C('DEL', T .. 'n:' .. q) end
  end
  return out
end

if op == 'limits' then
  local out, names = {OK}, C('SMEMBERS', T .. 'limits')
  table.sort(names)
  for _, name in ipairs(names) do
    local v = C('HMGET', T .. 'L:' .. name, 'c', 'rate', 'per')
    out[#out + 1] = {name, tonumber(v[1]), tonumber(v[2]), tonumber(v[3]), C('ZCARD', T .. 'h:' .. name), C('SCARD', T .. 'A:' .. name)}
  end
  return out
end

if op == 'record_get' then
  local kind, name = arg(), arg()
  local v = C('HGET', T .. 'r:' .. kind, name)
  if not v then return {NOT_FOUND} end
  return {OK, v}
end

-- kind, after this name (empty: from the first on), how many. Gives names and values.
if op == 'record_each' then
  local kind, after, most = arg(), arg(), num()
  local names = C('ZRANGEBYLEX', T .. 'rn:' .. kind, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, most)
  if #names == 0 then return {OK} end
  local out, values = {OK}, C('HMGET', T .. 'r:' .. kind, unpack(names))
  for i = 1, #names do out[2 * i], out[2 * i + 1] = names[i], values[i] or '0:' end
  return out
end

if op == 'heard' then C('ZADD', T .. 'wk', 'XX', now, arg()) return {OK} end

if op == 'workers' then
  local out, by = {OK}, {}
  local seen = C('ZRANGE', T .. 'wk', 0, 9999, 'WITHSCORES')
  for i = 1, #seen, 2 do
    local v = C('HMGET', T .. 'wk:' .. seen[i], 'pid', 'since', 'done', 'failed', 'q')
    local w = {seen[i], tonumber(v[1] or 0), tonumber(v[2] or 0), now - tonumber(seen[i + 1]), tonumber(v[3] or 0), tonumber(v[4] or 0), v[5] or '', 0, 0, ''}
    by[seen[i]] = w
    out[#out + 1] = w
  end
  local first = {}
  for _, id in ipairs(C('ZRANGE', T .. 's:' .. STARTED, 0, 9999)) do
    local v = C('HMGET', key(id), 'w', 'l', 'k')
    local w = v[1] and by[v[1]]
    if w then
      w[8] = w[8] + 1
      local l = tonumber(v[2])
      if not first[v[1]] or l < first[v[1]] then first[v[1]] = l w[9] = tonumber(id) w[10] = v[3] end
    end
  end
  return out
end

-- id, from this byte on, at most so many
if op == 'log_read' then
  local id, from, most = arg(), num(), num()
  return {OK, C('GETRANGE', T .. 'log:' .. id, from, from + most - 1), C('STRLEN', T .. 'log:' .. id)}
end

if op == 'facts' then return {OK, tonumber(C('HGET', meta, 'refused') or 0), tonumber(C('HGET', meta, 'id') or 0)} end

-- A number for a task to come.
if op == 'reserve' then return {OK, C('HINCRBY', meta, 'id', 1)} end

-- ---- records ----

-- kind, name, expected version (-1: any), value
local function check_record(kind, name, expect)
  local old = C('HGET', T .. 'r:' .. kind, name)
  local version = old and tonumber(string.match(old, '^(%d+):')) or 0
  if expect ~= -1 and expect ~= version then return expect == 0 and EXISTS or CONFLICT, version end
  return OK, version
end

local function put_record(kind, name, version, value)
  C('HSET', T .. 'r:' .. kind, name, string.format('%.0f:', version) .. value)
  C('ZADD', T .. 'rn:' .. kind, 0, name)
end

if op == 'record_put' then
  local kind, name, expect, value = arg(), arg(), num(), arg()
  local code, version = check_record(kind, name, expect)
  if code ~= OK then return {code, version} end
  put_record(kind, name, version + 1, value)
  return {OK, version + 1}
end

if op == 'record_delete' then
  local kind, name = arg(), arg()
  C('HDEL', T .. 'r:' .. kind, name)
  C('ZREM', T .. 'rn:' .. kind, name)
  return {OK}
end

if op == 'record_delete_kind' then
  local kind = arg()
  C('DEL', T .. 'r:' .. kind, T .. 'rn:' .. kind)
  return {OK}
end

-- ---- what is told at the end, together ----

local counts, wakes, told = {}, {}, {}

local function tell(what, id) told[#told + 1] = what .. id end

local function add(q, s, n)
  local of = counts[q]
  if not of then of = {} counts[q] = of end
  of[s] = (of[s] or 0) + n
end

local function flush()
  for q, of in pairs(counts) do
    for s, n in pairs(of) do
      if n ~= 0 and C('HINCRBY', T .. 'n:' .. q, s, n) == n then C('SADD', T .. 'queues', q) end
    end
  end
  for q, n in pairs(wakes) do
    local key = T .. 'wake:' .. q
    local room = TOKENS - C('LLEN', key)
    if n > room then n = room end
    if n > 0 then
      local tokens = {}
      for i = 1, n do tokens[i] = '1' end
      C('LPUSH', key, unpack(tokens))
    end
    tell('r', 0)
  end
  if #told > 0 then C('PUBLISH', T .. 'events', table.concat(told, ' ')) end
end

local function reply(...) flush() return {OK, ...} end

-- id, lease (empty: whatever it is), bytes, at most so many in all
if op == 'log' then
  local id, lease, bytes, most = arg(), arg(), arg(), num()
  local l = C('HGET', key(id), 'l')
  if not l then return {NOT_FOUND} end
  if lease ~= '' and l ~= lease then return {GONE} end
  local room = most - C('STRLEN', T .. 'log:' .. id)
  if room > 0 then C('APPEND', T .. 'log:' .. id, string.sub(bytes, 1, room)) end
  tell('l', id)
  return reply()
end

-- ---- a task ----

local function member(id) return string.format('%015d', id) end

local function load(id)
  local v = C('HMGET', key(id), 's', 'q', 'l', 'a', 'm', 'b', 'ra', 'kp', 'lk', 'pr', 'uk', 'w', 'nw', 'h', 'al', 'r', 'ww', 'rt')
  if not v[1] then return nil end
  return {s = tonumber(v[1]), q = v[2], l = v[3] or '0', a = tonumber(v[4] or 0), m = tonumber(v[5] or 1), b = tonumber(v[6] or 0), ra = tonumber(v[7] or 0),
          kp = tonumber(v[8] or 0), lk = v[9] or '', pr = tonumber(v[10] or 0), uk = v[11] or '', w = v[12] or '', nw = tonumber(v[13] or 0), h = v[14], al = v[15], r = v[16], ww = v[17], rt = v[18]}
end

local function put_bytes(id, field, bytes)
  if bytes == '' then
    if C('HDEL', key(id), field) == 1 then C('DEL', T .. field .. ':' .. id) end
  elseif #bytes <= SMALL then C('HSET', key(id), field, '=' .. bytes)
  else
    C('SET', T .. field .. ':' .. id, bytes)
    C('HSET', key(id), field, '@')
  end
end

-- Out of what belongs to its state alone.
local function leave(id, t)
  if t.s == QUEUED then C('ZREM', T .. 'ready:' .. t.q, member(id))
  elseif t.s == STARTED then C('ZREM', T .. 'leases', id)
  elseif t.s == SCHEDULED then C('ZREM', T .. 'due', id)
  elseif t.s == DEFERRED then
    if t.h then C('ZREM', T .. 'h:' .. t.lk, member(id)) C('HDEL', key(id), 'h') end
    if t.nw > 0 then C('HDEL', key(id), 'nw') end
  else
    C('ZREM', T .. 'end:' .. t.s, id)
    C('ZREM', T .. 'exp', id)
  end
end

local function move(id, t, to)
  if t.s ~= to then
    if t.s then C('ZREM', T .. 's:' .. t.s, id) add(t.q, t.s, -1) end
    C('ZADD', T .. 's:' .. to, id, id)
    add(t.q, to, 1)
  end
  t.s = to
  if to < FINISHED then
    C('HSET', key(id), 's', to)
    tell('c', id)
  end
end

local function to_queued(id, t)
  if t.s then leave(id, t) end
  move(id, t, QUEUED)
  C('ZADD', T .. 'ready:' .. t.q, -t.pr, member(id))
  if t.lk ~= '' then C('SADD', T .. 'A:' .. t.lk, id) end
  wakes[t.q] = (wakes[t.q] or 0) + 1
end

local function to_scheduled(id, t, run_at)
  if t.s then leave(id, t) end
  move(id, t, SCHEDULED)
  C('ZADD', T .. 'due', run_at, id)
  tell('t', 0)
end

-- ---- limits (limits.h) ----

local function take_token(l)
  if l.rate == 0 then return true end
  local per_us = l.per * 1000
  local interval = math.floor(per_us / l.rate)
  local burst = per_us - interval
  if l.next > now_us + 2 * per_us then l.next = now_us end
  if l.next - burst > now_us then
    l.due = math.ceil((l.next - burst) / 1000)
    return false
  end
  l.next = math.max(l.next, now_us) + math.max(interval, 1)
  return true
end

local function admit(name)
  if name == '' then return end
  local v = C('HMGET', T .. 'L:' .. name, 'c', 'rate', 'per', 'next')
  local l = {most = tonumber(v[1] or 0), rate = tonumber(v[2] or 0), per = tonumber(v[3] or 0), next = tonumber(v[4] or 0), due = 0}
  local active = l.most > 0 and C('SCARD', T .. 'A:' .. name) or 0
  local before, let = l.next, 0
  while l.most == 0 or active < l.most do
    local m = C('ZRANGE', T .. 'h:' .. name, 0, 0)[1]
    if not m then break end
    if let == AT_ONCE then l.due = now break end
    if not take_token(l) then break end
    local id = string.format('%.0f', tonumber(m))
    local t = load(id)
    if t then to_queued(id, t) else C('ZREM', T .. 'h:' .. name, m) end
    active = active + 1
    let = let + 1
  end
  if v[1] and l.next ~= before then C('HSET', T .. 'L:' .. name, 'next', string.format('%.0f', l.next)) end
  if l.due > 0 then C('ZADD', T .. 'limdue', l.due, name) elseif l.rate > 0 or not v[1] then C('ZREM', T .. 'limdue', name) end
end

local function make_ready(id, t)
  if t.lk == '' then to_queued(id, t) return end
  if t.s then leave(id, t) end
  move(id, t, DEFERRED)
  C('HSET', key(id), 'h', 1)
  C('ZADD', T .. 'h:' .. t.lk, -t.pr, member(id))
  admit(t.lk)
end

if op == 'limit_put' then
  local name = arg()
  C('HSET', T .. 'L:' .. name, 'c', num(), 'rate', num(), 'per', num())
  C('SADD', T .. 'limits', name)
  admit(name)
  return reply()
end

if op == 'limit_delete' then
  local name = arg()
  if C('DEL', T .. 'L:' .. name) == 0 then return {NOT_FOUND} end
  C('SREM', T .. 'limits', name)
  admit(name)
  return reply()
end

-- ---- ends ----

local function write_end(id, t, to, reason, result)
  leave(id, t)
  move(id, t, to)
  C('HSET', key(id), 's', to, 'e', now)
  if reason ~= '' then C('HSET', key(id), 'r', reason) elseif t.r then C('HDEL', key(id), 'r') end
  if t.al then C('HDEL', key(id), 'al') end
  if result ~= '' then put_bytes(id, 'x', result) end
  C('ZADD', T .. 'end:' .. to, now, id)
  if t.kp > 0 then C('ZADD', T .. 'exp', now + t.kp, id) end
  if t.uk ~= '' then C('HDEL', T .. 'u', t.uk) end
  if t.lk ~= '' then C('SREM', T .. 'A:' .. t.lk, id) admit(t.lk) end
  tell('e', id)
  if t.rt then part_ended(id, t, to, reason, result) end
end

local function doomed(id) return 'task ' .. id .. ', which it waits for, did not finish' end

-- number (0: the next one), fourteen values, what it waits for, records that are put with it
if op == 'push' then
  local id = num()
  local q, k, uk, payload, pr, m, b, ra, pg, lk, to, mem, kp = arg(), arg(), arg(), arg(), num(), num(), num(), num(), arg(), arg(), num(), num(), num()
  local waits, needs, doomed_by, records = {}, num(), nil, {}
  for i = 1, needs do
    local n = arg()
    local s = C('HGET', key(n), 's')
    if not s then return {NOT_FOUND, tonumber(n)} end
    s = tonumber(s)
    if s == FAILED or s == CANCELED then doomed_by = n elseif s ~= FINISHED then waits[n] = true end
  end
  if uk ~= '' then
    local present = C('HGET', T .. 'u', uk)
    if present then return {EXISTS, tonumber(present)} end
  end
  for i = 1, num() do
    local kind, name, expect, value = arg(), arg(), num(), arg()
    local code, version = check_record(kind, name, expect)
    if code ~= OK then return {code, -i, version} end
    records[i] = {kind, name, version + 1, value}
  end
  if id == 0 then id = C('HINCRBY', meta, 'id', 1) end
  local f = {'q', q, 'k', k, 'c', now}
  local function set(name, value, none) if value ~= none then f[#f + 1] = name f[#f + 1] = value end end
  set('pr', pr, 0) set('m', m, 1) set('b', b, 0) set('ra', ra, 0) set('to', to, 0) set('mem', mem, 0) set('kp', kp, 0)
  set('uk', uk, '') set('pg', pg, '') set('lk', lk, '')
  C('HSET', key(id), unpack(f))
  if payload ~= '' then put_bytes(id, 'p', payload) end
  local t = {q = q, lk = lk, pr = pr, ra = ra, uk = uk, kp = kp, nw = 0, a = 0, m = m, b = b, w = '', l = '0'}
  if uk ~= '' then C('HSET', T .. 'u', uk, id) end
  if doomed_by then
    t.s = DEFERRED
    add(q, DEFERRED, 1)
    C('ZADD', T .. 's:' .. DEFERRED, id, id)
    write_end(id, t, FAILED, doomed(doomed_by), '')
  elseif next(waits) then
    move(id, t, DEFERRED)
    local n = 0
    for needed in pairs(waits) do
      C('SADD', T .. 'w:' .. needed, id)
      C('HSET', key(needed), 'ww', 1)
      n = n + 1
    end
    C('HSET', key(id), 'nw', n)
  elseif ra > now then to_scheduled(id, t, ra)
  else make_ready(id, t) end
  for i = 1, #records do put_record(unpack(records[i])) end
  return reply(id)
end

local function free_waiter(id)
  local t = load(id)
  if not t or t.s ~= DEFERRED or t.nw == 0 then return end
  if C('HINCRBY', key(id), 'nw', -1) > 0 then return end
  if t.ra > now then to_scheduled(id, t, t.ra) else make_ready(id, t) end
end

-- Those of one call, whose sets change together.
local finished_ids = {}

local function finish_plainly(id, t, result)
  C('HSET', key(id), 's', FINISHED, 'e', now)
  if result ~= '' then put_bytes(id, 'x', result) end
  add(t.q, STARTED, -1)
  add(t.q, FINISHED, 1)
  finished_ids[#finished_ids + 1] = id
  tell('e', id)
end

local function flush_finished()
  if #finished_ids == 0 then return end
  local by_id, by_time = {}, {}
  for i, id in ipairs(finished_ids) do
    by_id[2 * i - 1], by_id[2 * i] = id, id
    by_time[2 * i - 1], by_time[2 * i] = now, id
  end
  C('ZREM', T .. 'leases', unpack(finished_ids))
  C('ZREM', T .. 's:' .. STARTED, unpack(finished_ids))
  C('ZADD', T .. 's:' .. FINISHED, unpack(by_id))
  C('ZADD', T .. 'end:' .. FINISHED, unpack(by_time))
end

local function end_task(id, t, to, reason, result)
  if to == FINISHED and t.s == STARTED and not t.ww and not t.rt and not t.r and not t.al and t.kp == 0 and t.uk == '' and t.lk == '' then
    finish_plainly(id, t, result)
    return
  end
  write_end(id, t, to, reason, result)
  local list, finished = t.ww and {id} or {}, to == FINISHED
  while #list > 0 do
    local needed = table.remove(list)
    local waiters = C('SMEMBERS', T .. 'w:' .. needed)
    if #waiters > 0 then C('DEL', T .. 'w:' .. needed) end
    for i = 1, #waiters do
      if finished then free_waiter(waiters[i])
      else
        local w = load(waiters[i])
        if w and w.s == DEFERRED and w.nw > 0 then
          write_end(waiters[i], w, FAILED, doomed(needed), '')
          list[#list + 1] = waiters[i]
        end
      end
    end
  end
end

local function cancel_task(id, t, text)
  if t.s == STARTED then
    C('LPUSH', T .. 'cmd:' .. t.w, id)
    C('PEXPIRE', T .. 'cmd:' .. t.w, 120000)
  end
  end_task(id, t, CANCELED, text, '')
end
