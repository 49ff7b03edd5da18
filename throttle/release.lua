-- Gives places back.
--
-- KEYS     the ZSET of each place
-- ARGV     the delivery id of each place, in the same order
-- Returns  how many places there were to give back

local freed = 0
for i, key in ipairs(KEYS) do
  freed = freed + redis.call('ZREM', key, ARGV[i])
end
return freed
