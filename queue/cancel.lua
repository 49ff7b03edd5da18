-- Cancels what has not been sent of one notification.
-- KEYS[1]   parked ids by due time, whose moment was chosen beforehand (zset)
-- KEYS[2]   parked payloads (hash)
-- KEYS[3]   the notification's record
-- KEYS[4]   canceled notifications by the number of their cancel (zset)
-- KEYS[5]   how many cancels there were (string)
-- KEYS[6]   parked ids by due time, that wait for their provider (zset)
-- KEYS[7]   how many of the latter each turn has (hash)
-- KEYS[8..] streams
-- ARGV[1]   the record's life once nothing is open, ms
-- ARGV[2]   how long an open notification is remembered, ms
-- ARGV[3]   the record's length when it was read: what follows is about that
-- ARGV[4]   consumer group
-- ARGV[5]   the most entries of one stream that are looked through
-- ARGV[6]   the notification, as KEYS[4] names it
-- ARGV[7]   1: what is collected for it goes too
-- ARGV[8..] for each part that is open: its id, its record line, the first and the last of KEYS that it may be on
-- Returns   for each part 1 canceled while parked, 2 canceled before anybody read it, 0 somebody holds it;
--           nothing at all when the record is another by now.
--
-- Once the notification is among the canceled, whoever reads an entry of it learns so with that reading: what
-- nobody has read will not be sent, and the record says so at once. Its entry stays, and its reader drops it.
-- What somebody holds may be being sent; its holder learns of the cancel too, and the record will tell.
if redis.call('STRLEN', KEYS[3]) ~= tonumber(ARGV[3]) then return {} end

local held = {}
local parts = {}

-- The payloads of what is leased of a stream: everything that is there up to what was handed out last.
-- false: too much to look through.
local function leased(stream)
  if held[stream] ~= nil then return held[stream] end
  local out, groups = {}, redis.pcall('XINFO', 'GROUPS', stream)
  for _, g in ipairs(groups.err and {} or groups) do
    local at = {}
    for i = 1, #g, 2 do at[g[i]] = g[i + 1] end
    if at.name == ARGV[4] and at['last-delivered-id'] ~= '0-0' then
      for _, entry in ipairs(redis.call('XRANGE', stream, '-', at['last-delivered-id'], 'COUNT', ARGV[5])) do
        out[#out + 1] = entry[2][2]
      end
    end
  end
  if #out >= tonumber(ARGV[5]) then out = false end
  held[stream] = out
  return out
end

local function isHeld(id, first, last)
  for k = first, last do
    local payloads = leased(KEYS[k])
    if not payloads then return true end
    for _, payload in ipairs(payloads) do
      if string.find(payload, id, 1, true) then return true end
    end
  end
  return false
end

-- Takes a part off the parked, wherever it is among them.
local function unpark(id)
  if redis.call('ZREM', KEYS[1], id) == 0 then
    if redis.call('ZREM', KEYS[6], id) == 0 then return false end
    local stream = string.match(redis.call('HGET', KEYS[2], id) or '', '^[^\n]*')
    redis.pcall('HINCRBY', KEYS[7], string.match(stream, ':(%d+)$') or '0', -1)
    if redis.call('EXISTS', KEYS[6]) == 0 then redis.pcall('DEL', KEYS[7]) end
  end
  redis.call('HDEL', KEYS[2], id)
  return true
end

-- Whether others are collected for a part: then it stays where it is until it is due, when whoever reads it
-- hands on to the next of them what it carries. What carries nothing for others goes with its digest.
local function carries(id)
  local tag = string.match(KEYS[2], '^{.-}:')
  local digest = tag .. 'digest:' .. id
  local n = redis.call('LLEN', digest)
  if n == 0 then return false end
  local head = redis.call('LINDEX', digest, 0)
  local pointer = string.match(head, '^%d+ %d+ %d+ %S* (.*)$')
  if ARGV[7] ~= '1' and n > 1 then return true end
  -- What is on a stream closes it by itself.
  if redis.call('ZSCORE', KEYS[1], id) or redis.call('ZSCORE', KEYS[6], id) then
    if redis.call('GET', tag .. pointer) == id then redis.call('DEL', tag .. pointer) end
    local persons = string.gsub(pointer, '^digesting:(.-)%..*$', 'digests:%1')
    if persons ~= pointer then redis.call('SREM', tag .. persons, id) end
    redis.call('DEL', digest)
  end
  return false
end

local parked, streamed = 0, 0
for a = 8, #ARGV, 4 do
  if not carries(ARGV[a]) and unpark(ARGV[a]) then
    redis.call('APPEND', KEYS[3], ARGV[a + 1])
    parked = parked + 1
    parts[#parts + 1] = 1
  else
    streamed = streamed + 1
    if isHeld(ARGV[a], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])) then
      parts[#parts + 1] = 0
    else
      redis.call('APPEND', KEYS[3], ARGV[a + 1])
      parts[#parts + 1] = 2
    end
  end
end
if streamed > 0 then
  if not redis.call('ZSCORE', KEYS[4], ARGV[6]) then
    redis.call('ZADD', KEYS[4], redis.call('INCR', KEYS[5]), ARGV[6])
  end
  redis.call('PEXPIRE', KEYS[4], ARGV[2])
  redis.call('PEXPIRE', KEYS[5], ARGV[2])
end
if parked > 0 then
  local open = math.max((tonumber(redis.call('GETRANGE', KEYS[3], 0, 2)) or 0) - parked, 0)
  redis.call('SETRANGE', KEYS[3], 0, string.format('%03d', open))
  if open == 0 and streamed == 0 then
    redis.call('PEXPIRE', KEYS[3], ARGV[1])
    final(KEYS[3])
  end
end
publish()
return parts
