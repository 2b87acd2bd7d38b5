/* What is done in Redis at once, in Lua: a task's keys change together, and only when nobody has touched them. */
#include "work/rq_inner.h"

/* Where a job stands, by a status. h: status, tutti_state, tutti_task, tutti_rev, tutti_wip, worker_name. */
#define LEAVE \
    "local function leave(s)\n" \
    "  if s == 'queued' then redis.call('LREM', 'rq:queue:' .. q, 1, J)\n" \
    "  elseif s == 'started' then\n" \
    "    if h[5] and h[5] ~= '' then\n" \
    "      redis.call('ZREM', 'rq:wip:' .. q, h[5])\n" \
    "      redis.call('DEL', 'rq:execution:' .. h[5], 'rq:executions:' .. J)\n" \
    "      if h[6] then redis.call('SREM', 'rq:worker:' .. h[6] .. ':executions', h[5]) end\n" \
    "    end\n" \
    "  elseif s == 'stopped' then redis.call('ZREM', 'rq:failed:' .. q, J)\n" \
    "  elseif s and s ~= '' then redis.call('ZREM', 'rq:' .. s .. ':' .. q, J) end\n" \
    "end\n"

/* The index holds, for each number, the id; '' when people deleted the job, '-' when its task has ended since. */
const char tt_rq_put_script[] =
    "local J, q, want, score, ttl, mode, index, number, mark, X, W, exc, value, rev, now, front, trust = unpack(ARGV, 1, 17)\n"
    "local job = 'rq:job:' .. J\n"
    "local known = redis.call('HGET', index, number)\n"
    "local active = want == 'queued' or want == 'started' or want == 'deferred' or want == 'scheduled'\n"
    "if known == '-' and active then known = false end\n"
    "if known == '' and not active then redis.call('HSET', index, number, '-') end\n"
    "if known == '' or known == '-' then return {'hidden'} end\n"
    "local h = redis.call('HMGET', job, 'status', 'tutti_state', 'tutti_task', 'tutti_rev', 'tutti_wip', 'worker_name')\n"
    "local wip = X ~= '' and J .. ':' .. X or ''\n"
    LEAVE
    "if not h[3] and redis.call('EXISTS', job) == 0 then\n"
    "  if known and trust == '1' then\n"
    "    redis.call('HSET', index, number, active and '' or '-')\n"
    "    h[5] = wip\n"
    "    h[6] = W\n"
    "    for _, s in ipairs({want, 'started', 'finished', 'failed', 'deferred', 'scheduled', 'canceled'}) do leave(s) end\n"
    "    redis.call('DEL', 'rq:results:' .. J)\n"
    "    return {'gone'}\n"
    "  end\n"
    "elseif h[3] ~= mark then return {'foreign'}\n"
    "elseif h[1] ~= h[2] and h[1] ~= want and mode ~= 'force' then return {'altered', h[1] or '', h[4] or ''} end\n"
    "if mode == 'scan' and h[1] == want and h[2] == want and h[4] == rev then return {'same'} end\n"
    "local was, old_rev = h[1], h[4]\n"
    "if h[2] and h[2] ~= want then leave(h[2]) end\n"
    "if was and was ~= want and was ~= h[2] then leave(was) end\n"
    "if want == 'started' and h[5] and h[5] ~= wip then leave('started') end\n"
    "redis.call('HSET', job, 'origin', q, 'status', want, 'tutti_state', want, 'tutti_task', mark, 'tutti_rev', rev, 'tutti_wip', wip, 'worker_name', W,\n"
    "           unpack(ARGV, 18))\n"
    "if known ~= J then redis.call('HSET', index, number, J) end\n"
    "redis.call('SADD', 'rq:queues', 'rq:queue:' .. q)\n"
    "if want == 'queued' then\n"
    "  if was ~= 'queued' or (mode ~= 'put' and not redis.call('LPOS', 'rq:queue:' .. q, J)) then\n"
    "    redis.call(front == '1' and 'LPUSH' or 'RPUSH', 'rq:queue:' .. q, J)\n"
    "  end\n"
    "elseif want == 'started' then\n"
    "  local beat = tonumber(score) - tonumber(now)\n"
    "  redis.call('ZADD', 'rq:wip:' .. q, score, wip)\n"
    "  redis.call('ZADD', 'rq:executions:' .. J, tonumber(score) + 60, X)\n"
    "  redis.call('EXPIRE', 'rq:executions:' .. J, math.ceil(beat) + 60)\n"
    "  local run = 'rq:execution:' .. wip\n"
    "  redis.call('HSETNX', run, 'created_at', now)\n"
    "  redis.call('HSET', run, 'id', X, 'job_id', J, 'last_heartbeat', now, 'worker_name', W)\n"
    "  redis.call('EXPIRE', run, math.ceil(beat) + 60)\n"
    "  redis.call('SADD', 'rq:worker:' .. W .. ':executions', wip)\n"
    "  redis.call('EXPIRE', 'rq:worker:' .. W .. ':executions', math.ceil(beat) + 60)\n"
    "else\n"
    "  redis.call('ZADD', 'rq:' .. want .. ':' .. q, score, J)\n"
    "  if (want == 'finished' or want == 'failed') and old_rev ~= rev then\n"
    "    local entry = {'XADD', 'rq:results:' .. J, 'MAXLEN', '~', 10, '*', 'type', want == 'finished' and 1 or 2, 'worker_name', W}\n"
    "    if exc ~= '' then entry[#entry + 1] = 'exc_string' entry[#entry + 1] = exc end\n"
    "    if value ~= '' then entry[#entry + 1] = 'return_value' entry[#entry + 1] = value end\n"
    "    redis.call(unpack(entry))\n"
    "    if tonumber(ttl) > 0 then redis.call('EXPIRE', 'rq:results:' .. J, ttl) end\n"
    "  end\n"
    "end\n"
    "if tonumber(ttl) > 0 then redis.call('EXPIRE', job, ttl) else redis.call('PERSIST', job) end\n"
    "return {'ok'}\n";

const char tt_rq_drop_script[] =
    "local index, number, mark = unpack(ARGV)\n"
    "local J = redis.call('HGET', index, number)\n"
    "redis.call('HDEL', index, number)\n"
    "if not J or J == '' or J == '-' then return {'same'} end\n"
    "local job = 'rq:job:' .. J\n"
    "local h = redis.call('HMGET', job, 'status', 'tutti_state', 'tutti_task', 'tutti_rev', 'tutti_wip', 'worker_name', 'origin')\n"
    "local q = h[7] or ''\n"
    LEAVE
    "if h[3] ~= mark then return {'same'} end\n"
    "leave(h[1])\n"
    "if h[2] ~= h[1] then leave(h[2]) end\n"
    "redis.call('DEL', job, 'rq:results:' .. J, job .. ':dependents', 'rq:job::' .. J .. ':dependencies')\n"
    "return {'ok'}\n";
