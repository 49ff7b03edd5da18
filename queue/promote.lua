-- Puts what is due back on its stream.
-- KEYS[1]  parked ids by due time (zset)
-- KEYS[2]  parked payloads (hash)
-- ARGV[1]  now, unix ms
-- ARGV[2]  the most to promote
-- ARGV[3]  the partition's tag, which every stream's key begins with
-- Returns  {how many were promoted, when the next is due in unix ms (-1: none)}
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  local parked = redis.call('HGET', KEYS[2], id)
  if parked then
    local cut = string.find(parked, '\n', 1, true)
    redis.call('XADD', ARGV[3] .. string.sub(parked, 1, cut - 1), '*', 'd', string.sub(parked, cut + 1))
  end
end
if #due > 0 then
  redis.call('ZREM', KEYS[1], unpack(due))
  redis.call('HDEL', KEYS[2], unpack(due))
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {#due, next[2] and tonumber(next[2]) or -1}
