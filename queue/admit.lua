-- Admits a batch of events, each once.
-- KEYS      records, streams and the partitions' own keys, which ARGV names by their index
-- ARGV[1]   how long the record of an open notification is kept past its due time, ms
-- ARGV[2..] for each event: record index, payload, record's head, ms until due (0: now), stream index,
--           then, when it is due later: due time in unix ms, its id, stream's name without its tag,
--           index of the parked ids by due time (zset), index of the parked payloads (hash)
-- Returns   for each event 1 when it was admitted, 0 when its id was there already.
-- Nearly all are due now: those take two commands and no arithmetic but the indices'.
local call, keys, argv, out = redis.call, KEYS, ARGV, {}
local a, last, open = 2, #ARGV, ARGV[1]
while a <= last do
  local wait, new = argv[a + 3], nil
  if wait == '0' then
    new = call('SET', keys[argv[a] + 0], argv[a + 2], 'NX', 'PX', open)
    if new then call('XADD', keys[argv[a + 4] + 0], '*', 'd', argv[a + 1]) end
    a = a + 5
  else
    local life = string.format('%.0f', open + wait)
    new = call('SET', keys[argv[a] + 0], argv[a + 2], 'NX', 'PX', life)
    if new then
      call('HSET', keys[argv[a + 9] + 0], argv[a + 6], argv[a + 7] .. '\n' .. argv[a + 1])
      call('ZADD', keys[argv[a + 8] + 0], argv[a + 5], argv[a + 6])
    end
    a = a + 10
  end
  out[#out + 1] = new and 1 or 0
end
return out
