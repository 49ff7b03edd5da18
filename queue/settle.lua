-- Ends the lease of a batch of deliveries.
-- KEYS      streams, records and the partitions' own keys, which ARGV names by their index
-- ARGV[1]   consumer group
-- ARGV[2]   consumer
-- ARGV[3]   how long an open notification's record is kept past its due time, ms
-- ARGV[4]   the longest record that takes further lines that are not final, bytes
-- ARGV[5..] for each settlement: kind, stream index, entry id, record index, record line, then
--   done     record's life in ms, 1 when it is the notification's only delivery
--   next     the event that follows, its stream's index, the record line that says so, record's life in ms, 1 when it
--            is the only open delivery, ordinals of the first and the last delivery of its link
--   later    id, payload, due in unix ms (with its label as a fraction), ms until due, stream's name without its tag, index of the ids that wait
--            for their provider by due time (zset), index of the parked payloads (hash), index of how many each turn
--            has that wait so (hash)
--   dead     id, dead letter, time in unix ms, index of the dead letters by time (zset),
--            index of the dead letters (hash), record's life in ms
--   canceled record's life in ms, 1 when it is the notification's only delivery, how its line begins when the
--            record has it already (empty: it has not), index of the canceled (zset), the notification as that names it
--   requeue  payload: goes back to its stream as it was
--   unreadable  as dead, up to the indices: it has no record
-- Returns   for each settlement 1, or 0 when the entry was settled already, or taken over by another
--           consumer while we wanted it sent again (nothing is done then).
local width = {done = 2, next = 7, later = 8, dead = 6, canceled = 5, requeue = 1, unreadable = 5}
local out, acks = {}, {}

-- Without its group nobody holds the entry: the group that is made next reads it again. An error here
-- would undo nothing of what the batch has done, and be met again at every repetition.
local function owned(stream, entry)
  local held = redis.pcall('XPENDING', stream, ARGV[1], entry, entry, 1, ARGV[2])
  return not held.err and #held > 0
end

-- A record that is gone (evicted, deleted) stays gone: one that begins with this line says nothing of what
-- it is about, and nothing would make it expire.
local function tell(record, line)
  if redis.call('APPEND', record, line) > #line then return true end
  redis.call('DEL', record)
  return false
end

-- One delivery less is open. Returns true when none is.
local function shut(record, life, only)
  if only ~= '1' then
    local open = (tonumber(redis.call('GETRANGE', record, 0, 2)) or 1) - 1
    redis.call('SETRANGE', record, 0, string.format('%03d', math.max(open, 0)))
    if open > 0 then return false end
  end
  redis.call('PEXPIRE', record, life)
  final(record)
  return true
end

-- The last line is written with the whole record: what APPEND leaves beside it to grow into, half as much
-- again, would lie there for as long as the record is kept. A record that is gone stays gone.
local function close(record, line, life, only)
  local text = redis.call('GET', record)
  if not text then return end
  local open = only == '1' and 0 or math.max((tonumber(string.sub(text, 1, 3)) or 1) - 1, 0)
  if open > 0 then
    redis.call('APPEND', record, line)
    redis.call('SETRANGE', record, 0, string.format('%03d', open))
    return
  end
  redis.call('SET', record, '000' .. string.sub(text, 4) .. line, 'PX', life)
  final(record)
end

-- The last of a canceled notification to end takes it off the canceled.
local function cancel(record, line, x)
  local told = ARGV[x + 2] ~= '' and string.find(redis.call('GET', record) or '', ARGV[x + 2], 1, true)
  if (told or tell(record, line)) and not shut(record, ARGV[x], ARGV[x + 1]) then return end
  redis.call('ZREM', KEYS[tonumber(ARGV[x + 3])], ARGV[x + 4])
end

-- Whether every delivery of a link has ended without arriving. One that is a dead letter, or canceled, may
-- have, or is not to.
local function failed(record, first, last)
  local text = redis.call('GET', record) or ''
  for ordinal = first, last do
    local status
    for letter in string.gmatch(text, string.format('\n(%%l)\t%d\t', ordinal)) do status = letter end
    if not status or not string.find('feku', status, 1, true) then return false end
  end
  return true
end

local function follow(record, line, x)
  if not tell(record, line) then return end
  if failed(record, tonumber(ARGV[x + 5]), tonumber(ARGV[x + 6])) then
    redis.call('APPEND', record, ARGV[x + 2])
    redis.call('XADD', KEYS[tonumber(ARGV[x + 1])], '*', 'd', ARGV[x])
  else
    shut(record, ARGV[x + 3], ARGV[x + 4])
  end
end

local function park(x)
  redis.call('HSET', KEYS[tonumber(ARGV[x + 6])], ARGV[x], ARGV[x + 4] .. '\n' .. ARGV[x + 1])
  if redis.call('ZADD', KEYS[tonumber(ARGV[x + 5])], ARGV[x + 2], ARGV[x]) == 1 then
    redis.pcall('HINCRBY', KEYS[tonumber(ARGV[x + 7])], string.match(ARGV[x + 4], ':(%d+)$') or '0', 1)
  end
end

local function bury(x)
  redis.call('HSET', KEYS[tonumber(ARGV[x + 4])], ARGV[x], ARGV[x + 1])
  redis.call('ZADD', KEYS[tonumber(ARGV[x + 3])], ARGV[x + 2], ARGV[x])
end

local function note(record, line)
  if redis.call('STRLEN', record) < tonumber(ARGV[4]) then
    tell(record, line)
  end
end

local a = 5
while a <= #ARGV do
  local kind, stream, entry = ARGV[a], KEYS[tonumber(ARGV[a + 1])], ARGV[a + 2]
  local record, line = KEYS[tonumber(ARGV[a + 3])], ARGV[a + 4]
  local x = a + 5
  -- A final outcome counts whoever saw it; what sends again must still hold the lease.
  local mine = (kind == 'done' or kind == 'dead' or kind == 'canceled' or kind == 'unreadable' or owned(stream, entry)) and redis.call('XDEL', stream, entry) == 1
  if mine then
    if kind == 'done' then
      close(record, line, ARGV[x], ARGV[x + 1])
    elseif kind == 'next' then
      follow(record, line, x)
    elseif kind == 'later' then
      park(x)
      note(record, line)
      redis.call('PEXPIRE', record, string.format('%.0f', tonumber(ARGV[x + 3]) + tonumber(ARGV[3])))
    elseif kind == 'dead' then
      bury(x)
      -- Counted even when it is the only one: a redrive counts it in again.
      close(record, line, ARGV[x + 5], '0')
    elseif kind == 'unreadable' then
      bury(x)
    elseif kind == 'canceled' then
      cancel(record, line, x)
    elseif kind == 'requeue' then
      redis.call('XADD', stream, '*', 'd', ARGV[x])
    end
    local ids = acks[stream]
    if not ids then ids = {}; acks[stream] = ids end
    ids[#ids + 1] = entry
  end
  out[#out + 1] = mine and 1 or 0
  a = x + width[kind]
end
for stream, ids in pairs(acks) do
  redis.call('XACK', stream, ARGV[1], unpack(ids))
end
publish()
return out
