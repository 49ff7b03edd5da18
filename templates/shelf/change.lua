-- Makes a version current, for everybody at once: one that is new, or one that
-- the history still names. What the history forgets over it is deleted.
--
-- KEYS[1]  current
-- KEYS[2]  history
-- KEYS[3]  refs
-- ARGV[1]  the prefix of every other key, all of which lie in the same slot
-- ARGV[2]  the channel that changes are told on
-- ARGV[3]  the version
-- ARGV[4]  the version that must be current, '-' for none; '' for any
-- ARGV[5]  how many changes the history keeps
-- ARGV[6]  the entry of the history, JSON; at and seq are filled in here
-- ARGV[7]  the manifest; '' for a version that must be there already
-- ARGV[8…] the names of its blobs, each once
-- Returns  {'done', entry}; {'same'} when it is current already; {'raced',
--          current} when another version is current than was expected;
--          {'missing', name…} when blobs are not there; {'unknown'} when the
--          version is not

local current = redis.call('HGET', KEYS[1], 'version') or '-'
if ARGV[4] ~= '' and ARGV[4] ~= current then return {'raced', current} end
if current == ARGV[3] then return {'same'} end

local prefix, manifest = ARGV[1], ARGV[1] .. 'version:' .. ARGV[3]
if redis.call('EXISTS', manifest) == 0 then
  if ARGV[7] == '' then return {'unknown'} end
  local missing = {'missing'}
  for i = 8, #ARGV do
    if redis.call('EXISTS', prefix .. ARGV[i]) == 0 then missing[#missing + 1] = ARGV[i] end
  end
  if #missing > 1 then return missing end
  for i = 8, #ARGV do
    if redis.call('HINCRBY', KEYS[3], ARGV[i], 1) == 1 then redis.call('PERSIST', prefix .. ARGV[i]) end
  end
  redis.call('SET', manifest, ARGV[7])
end

local now = redis.call('TIME')
local entry = cjson.decode(ARGV[6])
entry.at = now[1] * 1000 + math.floor(now[2] / 1000)
entry.seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local text = cjson.encode(entry)
redis.call('LPUSH', KEYS[2], text)
redis.call('HSET', KEYS[1], 'version', ARGV[3])

local forgotten = redis.call('LRANGE', KEYS[2], ARGV[5], -1)
redis.call('LTRIM', KEYS[2], 0, ARGV[5] - 1)
local named = {}
for _, e in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do named[cjson.decode(e).version] = true end
for _, e in ipairs(forgotten) do
  local version = cjson.decode(e).version
  local old = not named[version] and redis.call('GET', prefix .. 'version:' .. version)
  if old then
    local released = {}
    for path, file in pairs(cjson.decode(old).files) do
      local name = (string.sub(path, 1, 8) == '_assets/' and 'asset:' or 'file:') .. file.digest
      if not released[name] then
        released[name] = true
        if redis.call('HINCRBY', KEYS[3], name, -1) < 1 then
          redis.call('HDEL', KEYS[3], name)
          redis.call('DEL', prefix .. name)
        end
      end
    end
    redis.call('DEL', prefix .. 'version:' .. version)
  end
end

redis.call('PUBLISH', ARGV[2], ARGV[3])
return {'done', text}
