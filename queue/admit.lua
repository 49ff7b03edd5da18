-- Admits a batch of events, each once.
-- KEYS      records, streams and the partitions' own keys, which ARGV names by their index
-- ARGV[1]   how long the record of an open notification is kept past its due time, ms
-- ARGV[2..] for each event: record index, payload, record's head, ms until due (0: now), stream index,
--           then, when it is due later: due time in unix ms, its id, stream's name without its tag,
--           index of the parked ids by due time (zset), index of the parked payloads (hash)
-- Returns   for each event 1 when it was admitted, 0 when its id was there already.
local out = {}
local a = 2
while a <= #ARGV do
  local record, wait = KEYS[tonumber(ARGV[a])], tonumber(ARGV[a + 3])
  local life = string.format('%.0f', tonumber(ARGV[1]) + wait)
  local new = redis.call('SET', record, ARGV[a + 2], 'NX', 'PX', life)
  if new and wait > 0 then
    redis.call('HSET', KEYS[tonumber(ARGV[a + 9])], ARGV[a + 6], ARGV[a + 7] .. '\n' .. ARGV[a + 1])
    redis.call('ZADD', KEYS[tonumber(ARGV[a + 8])], ARGV[a + 5], ARGV[a + 6])
  elseif new then
    redis.call('XADD', KEYS[tonumber(ARGV[a + 4])], '*', 'd', ARGV[a + 1])
  end
  out[#out + 1] = new and 1 or 0
  a = a + (wait > 0 and 10 or 5)
end
return out
