-- Finds the deliveries that carry open digests.
-- KEYS     pointers of digests
-- Returns  for each the carrier's id, or '' when the digest is not open.
local out = {}
for i, key in ipairs(KEYS) do
  local carrier = redis.call('GET', key) or ''
  local tag = string.match(key, '^{.-}:')
  if carrier ~= '' and redis.call('EXISTS', tag .. 'digest:' .. carrier) == 0 then carrier = '' end
  out[i] = carrier
end
return out
