-- Removes what an interrupted rebuild left.
-- KEYS: 1 the set of the owners · 2 what the keys of their hashes begin with · from 3 on all sets; all of them rebuilt
for first = 0, redis.call('ZCARD', KEYS[1]) - 1, 1000 do
  for _, owner in ipairs(redis.call('ZRANGE', KEYS[1], first, first + 999)) do
    redis.call('UNLINK', KEYS[2] .. owner)
  end
end
for i = 3, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
