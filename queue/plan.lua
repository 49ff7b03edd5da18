-- Turns a batch of leased events into deliveries.
-- KEYS      streams, records and the partitions' own keys, which ARGV names by their index
-- ARGV[1]   consumer group
-- ARGV[2]   how long an open notification's record is kept past its due time, ms
-- ARGV[3..] for each event: stream index, entry id, record index, number of open deliveries ("003"),
--           record lines, record's life in ms when nothing is open, number of deliveries,
--           number of digest steps, then for each delivery: its id, payload, due in unix ms, ms until due (0: now), then
--           when due now the stream's index, 0 and 0, else the stream's name without its tag, the index
--           of the parked ids by due time (zset), the index of the parked payloads (hash); then for each
--           digest step: the index of the digest's pointer, that of its list, its carrier, ms until the carrier
--           is due, what is collected (empty: the step opens the digest), its record line when there is room,
--           and when there is none, the most items, the most bytes
-- Returns   for each event 1; 0 when the entry was planned already, 2 when a digest that a step collects in is
--           not open, or one that it opens is (nothing is done then).
local STEP = 9
local out, acks = {}, {}

-- The carrier of the digest whose pointer is a key; false when none is open.
local function carrier(pointer)
  local id = redis.call('GET', pointer)
  return id and redis.call('EXISTS', string.match(pointer, '^{.-}:') .. 'digest:' .. id) == 1 and id
end

-- Whether what the steps from a on go by is so still.
local function current(a, steps)
  local opened = {}
  for x = a, a + (steps - 1) * STEP, STEP do
    if ARGV[x + 4] == '' then
      if carrier(KEYS[tonumber(ARGV[x])]) then return false end
      opened[ARGV[x]] = ARGV[x + 2]
    end
  end
  for x = a, a + (steps - 1) * STEP, STEP do
    local id = opened[ARGV[x]] or carrier(KEYS[tonumber(ARGV[x])])
    if id ~= ARGV[x + 2] then return false end
  end
  return true
end

local function open(x)
  local pointer, list = KEYS[tonumber(ARGV[x])], KEYS[tonumber(ARGV[x + 1])]
  local life = string.format('%.0f', tonumber(ARGV[x + 3]) + tonumber(ARGV[2]))
  redis.call('SET', pointer, ARGV[x + 2], 'PX', life)
  redis.call('DEL', list)
  redis.call('RPUSH', list, '0 0 0  ' .. string.match(pointer, '^{.-}:(.*)$'))
  redis.call('PEXPIRE', list, life)
  local persons = string.gsub(pointer, ':digesting:(.-)%..*$', ':digests:%1')
  redis.call('SADD', persons, ARGV[x + 2])
  if redis.call('PTTL', persons) < tonumber(life) then redis.call('PEXPIRE', persons, life) end
end

-- Returns the record line of what was collected, which was kept or only counted.
local function collect(x)
  local list, item = KEYS[tonumber(ARGV[x + 1])], ARGV[x + 4]
  local bytes, more, rest = string.match(redis.call('LINDEX', list, 0), '^(%d+) (%d+) (.*)$')
  bytes, more = tonumber(bytes), tonumber(more)
  -- The carrier is an item too, and stands where the list's head does. What came after one that had no room
  -- has none either: the oldest stay.
  local fits = more == 0 and redis.call('LLEN', list) < tonumber(ARGV[x + 7]) and bytes + #item <= tonumber(ARGV[x + 8])
  if fits then redis.call('RPUSH', list, item) end
  redis.call('LSET', list, 0, string.format('%d %d %s', bytes + (fits and #item or 0), more + (fits and 0 or 1), rest))
  return fits and ARGV[x + 5] or ARGV[x + 6]
end

-- Takes the steps from a on: those that open first, for others may collect in the same digest.
local function take(a, steps, lines)
  for x = a, a + (steps - 1) * STEP, STEP do
    if ARGV[x + 4] == '' then open(x) end
  end
  for x = a, a + (steps - 1) * STEP, STEP do
    if ARGV[x + 4] ~= '' then lines = lines .. collect(x) end
  end
  return lines
end

local a = 3
while a <= #ARGV do
  local stream, entry, record = KEYS[tonumber(ARGV[a])], ARGV[a + 1], KEYS[tonumber(ARGV[a + 2])]
  local open, lines, life, n = ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], tonumber(ARGV[a + 6])
  local steps = tonumber(ARGV[a + 7])
  a = a + 8
  local digests = a + n * 7
  -- The entry itself is the token: whoever deletes it makes the transition. Where it is gone nothing is stale:
  -- a digest that is open may be the one that this very plan has opened, whose reply was lost.
  local stale = steps > 0 and not current(digests, steps) and #redis.call('XRANGE', stream, entry, entry) == 1
  local mine = not stale and redis.call('XDEL', stream, entry) == 1
  if mine and steps > 0 then lines = take(digests, steps, lines) end
  local longest = 0
  for _ = 1, n do
    local wait = tonumber(ARGV[a + 3])
    if mine then
      if wait > 0 then
        redis.call('HSET', KEYS[tonumber(ARGV[a + 6])], ARGV[a], ARGV[a + 4] .. '\n' .. ARGV[a + 1])
        redis.call('ZADD', KEYS[tonumber(ARGV[a + 5])], ARGV[a + 2], ARGV[a])
        if wait > longest then longest = wait end
      else
        redis.call('XADD', KEYS[tonumber(ARGV[a + 4])], '*', 'd', ARGV[a + 1])
      end
    end
    a = a + 7
  end
  if mine then
    if redis.call('APPEND', record, lines) == #lines then
      redis.call('DEL', record) -- it was gone already, and these lines alone say nothing of what they are about
    elseif n == 0 then
      redis.call('PEXPIRE', record, life)
      final(record)
    else
      -- A single delivery closes its record by itself and needs no count.
      if n > 1 then redis.call('SETRANGE', record, 0, open) end
      if longest > 0 then
        redis.call('PEXPIRE', record, string.format('%.0f', longest + tonumber(ARGV[2])))
      end
    end
    local ids = acks[stream]
    if not ids then ids = {}; acks[stream] = ids end
    ids[#ids + 1] = entry
  end
  out[#out + 1] = mine and 1 or stale and 2 or 0
  a = a + steps * STEP
end
for stream, ids in pairs(acks) do
  redis.call('XACK', stream, ARGV[1], unpack(ids))
end
publish()
return out
