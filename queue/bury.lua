-- Keeps something unreadable as a dead letter, once.
-- KEYS[1]  dead letters by time (zset)
-- KEYS[2]  dead letters (hash)
-- ARGV[1]  id
-- ARGV[2]  the dead letter
-- ARGV[3]  time, unix ms
-- Returns  1 when it is new.
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 0 then
  return 0
end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
