-- Admits a batch of events into one partition, each once.
-- KEYS[1]   parked ids by due time (zset)
-- KEYS[2]   parked payloads (hash)
-- KEYS[3..] for each event: its record, the stream it goes to
-- ARGV[1]   how long the record of an open notification is kept past its due time, ms
-- ARGV[2..] for each event: payload, record's head, due time in unix ms (0: now), ms until due,
--           parked id, stream's name without its tag
-- Returns   for each event 1 when it was admitted, 0 when its id was there already.
local out = {}
local a = 2
for k = 3, #KEYS, 2 do
  local due, wait = ARGV[a + 2], tonumber(ARGV[a + 3])
  if redis.call('SET', KEYS[k], ARGV[a + 1], 'NX', 'PX', string.format('%.0f', tonumber(ARGV[1]) + wait)) then
    if wait > 0 then
      redis.call('HSET', KEYS[2], ARGV[a + 4], ARGV[a + 5] .. '\n' .. ARGV[a])
      redis.call('ZADD', KEYS[1], due, ARGV[a + 4])
    else
      redis.call('XADD', KEYS[k + 1], '*', 'd', ARGV[a])
    end
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
  a = a + 6
end
return out
