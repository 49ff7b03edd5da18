-- Turns a batch of leased events into deliveries.
-- KEYS      streams, records and the partitions' own keys, which ARGV names by their index
-- ARGV[1]   consumer group
-- ARGV[2]   how long an open notification's record is kept past its due time, ms
-- ARGV[3..] for each event: stream index, entry id, record index, number of open deliveries ("003"),
--           record lines, record's life in ms when nothing is open, number of deliveries,
--           then for each delivery: its id, payload, due in unix ms, ms until due (0: now), then
--           when due now the stream's index, 0 and 0, else the stream's name without its tag, the index
--           of the parked ids by due time (zset), the index of the parked payloads (hash)
-- Returns   for each event 1, or 0 when the entry was planned already (nothing is done then).
local out, acks = {}, {}
local a = 3
while a <= #ARGV do
  local stream, entry, record = KEYS[tonumber(ARGV[a])], ARGV[a + 1], KEYS[tonumber(ARGV[a + 2])]
  local open, lines, life, n = ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], tonumber(ARGV[a + 6])
  a = a + 7
  -- The entry itself is the token: whoever deletes it makes the transition.
  local mine = redis.call('XDEL', stream, entry) == 1
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
  out[#out + 1] = mine and 1 or 0
end
for stream, ids in pairs(acks) do
  redis.call('XACK', stream, ARGV[1], unpack(ids))
end
publish()
return out
