-- Puts what is due back on its stream.
-- KEYS[1]  parked ids by due time (zset)
-- KEYS[2]  parked payloads (hash)
-- ARGV[1]  now, unix ms
-- ARGV[2]  the most to promote
-- ARGV[3]  the partition's tag, which every stream's key begins with
-- Returns  {how many were promoted, when the next is due in unix ms (-1: none)}
-- Only a stream that is there gets its entry. In a slot that is being migrated it may have gone ahead, or may
-- still be to come: an error would leave the entries before it both parked and on their streams, and a
-- stream made here could not be merged with the one that is there.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
local done = {}
for _, id in ipairs(due) do
  local parked = redis.call('HGET', KEYS[2], id)
  if parked then
    local cut = string.find(parked, '\n', 1, true)
    local stream = ARGV[3] .. string.sub(parked, 1, cut - 1)
    if redis.pcall('EXISTS', stream) == 1 then
      redis.call('XADD', stream, '*', 'd', string.sub(parked, cut + 1))
      done[#done + 1] = id
    end
  else
    done[#done + 1] = id
  end
end
if #done > 0 then
  redis.call('HDEL', KEYS[2], unpack(done))
  redis.call('ZREM', KEYS[1], unpack(done))
end
-- Nothing may fail from here on, though the key may be gone with its last member.
local next = redis.pcall('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {#done, next[2] and tonumber(next[2]) or -1}
