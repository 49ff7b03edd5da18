-- How a user's places are kept: the head of decide.lua and of release.lua.
--
-- One string holds what one user has under every cap, a section a rule:
--
--	rule    4 bytes  a hash of the rule's name
--	window  4 bytes  for how many ms a place counts
--	n       2 bytes  how many places follow, the earliest first, for each
--	        5 bytes  when it goes, in ms since EPOCH
--	        5 bytes  a hash of the delivery's id
--
-- Numbers are big-endian. places.go reads the same.

local EPOCH = 1600000000000 -- September 2020; five bytes last until 2055
local LAST = 1099511627775  -- the last moment after it that fits
local HEAD, PLACE = 10, 10  -- bytes of a section before its places, and of a place
local KEEP = 2048           -- places kept a rule; of a longer line the earliest are forgotten
local SLACK = 5000          -- ms by which callers' clocks may differ without a place being forgotten too early

local byte, char, find, sub, format = string.byte, string.char, string.find, string.sub, string.format

-- The moment that stands at byte i of a section's places.
local function moment(places, i)
  local a, b, c, d, e = byte(places, i, i + 4)
  return EPOCH + (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e
end

-- A moment's five bytes. The same one is asked for again and again.
local packed, bytes
local function pack(t)
  if t == packed then return bytes end
  packed = t
  local rest = math.min(math.max(t - EPOCH, 0), LAST)
  local e = rest % 256; rest = (rest - e) / 256
  local d = rest % 256; rest = (rest - d) / 256
  local c = rest % 256; rest = (rest - c) / 256
  local b = rest % 256
  bytes = char((rest - b) / 256, b, c, d, e)
  return bytes
end

-- What a user's string holds: a list of sections, each also under its rule.
local function open(raw)
  local user = {}
  local i = 1
  while i < #raw do
    local w3, w2, w1, w0, n1, n0 = byte(raw, i + 4, i + 9)
    local n, rule = n1 * 256 + n0, sub(raw, i, i + 3)
    local past = i + HEAD + n * PLACE
    local section = {
      head = sub(raw, i, i + 7), window = ((w3 * 256 + w2) * 256 + w1) * 256 + w0,
      n = n, places = sub(raw, i + HEAD, past - 1), rule = false, last = false, at = false,
    }
    user[#user + 1], user[rule] = section, section
    i = past
  end
  return user
end

-- The n-th place of a section, counted from its earliest.
local function nth(section, n) return moment(section.places, (n - 1) * PLACE + 1) end

-- The last place of a section that has any.
local function last(section)
  if not section.last then section.last = nth(section, section.n) end
  return section.last
end

-- The byte after a place's moment at which the delivery's id stands; nil when
-- it has no place here.
local function held(section, id)
  local i = find(section.places, id, 1, true)
  while i and i % PLACE ~= 6 do i = find(section.places, id, i + 1, true) end
  return i
end

-- Forgets the first n places of a section.
local function forget(section, n)
  section.n, section.places, section.at = section.n - n, sub(section.places, n * PLACE + 1), false
end

-- Writes a user down. It is forgotten when the last place has left its window,
-- as is before that the section of a rule whose own last place has.
local function save(key, user, now)
  local out, ends = {}, now
  for _, section in ipairs(user) do
    local stop = section.n > 0 and last(section) + section.window + SLACK or 0
    if stop > now then
      local n0 = section.n % 256
      out[#out + 1] = section.head
      out[#out + 1] = char((section.n - n0) / 256, n0)
      out[#out + 1] = section.places
      ends = math.max(ends, stop)
    end
  end
  if #out == 0 then
    redis.call('DEL', key)
  else
    redis.call('PSETEX', key, format('%d', ends - now), table.concat(out))
  end
end

