-- Agrees on when the token of a signing key was issued, and renews it.
--
-- KEYS[1]  the key's moment, unix seconds
-- ARGV[1]  proposed: the moment that the caller's token was issued at, 0 for none
-- ARGV[2]  refused: the moment of a token that its provider refuses as expired, 0 for none
-- ARGV[3]  the age in seconds at which a token is renewed
-- ARGV[4]  the age in seconds under which none is
--
-- Returns the moment and its age, both in seconds by this server's clock. A
-- moment that lies ahead, as after the clock was set back, is none.
local now = tonumber(redis.call('TIME')[1])
local proposed, refused = tonumber(ARGV[1]), tonumber(ARGV[2])
local renew, least = tonumber(ARGV[3]), tonumber(ARGV[4])
local at = tonumber(redis.call('GET', KEYS[1]) or 0)
local stored = at

if at > now or now - at >= renew then at = 0 end
if at ~= 0 and at == refused and now - at >= least then at = 0 end
if at == 0 and proposed ~= refused and proposed <= now and now - proposed < renew then at = proposed end
if at == 0 then at = now end
if at ~= stored then redis.call('SET', KEYS[1], at, 'EX', 2 * renew) end
return {at, now - at}
