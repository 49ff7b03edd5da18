-- Replaces a profile if it is still the one that was read.
--
-- KEYS[1]  the profile
-- ARGV     SHA-1 (hex) of the profile that was read, '' when there was none;
--          the new profile, '' to delete it
-- Returns  1 when it was replaced, 0 when somebody else changed it first

local now = redis.call('GET', KEYS[1])
if (now and redis.sha1hex(now) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
return 1
