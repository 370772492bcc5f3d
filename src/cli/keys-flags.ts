import type { FlagHelp } from './flags.ts'

export const KEYS_FLAGS: readonly FlagHelp[] = [
  {
    name: 'absolute-ms',
    value: '<ms>',
    help: 'The longest absolute lifetime of a session: the old secret stays that long (default 12 hours)',
  },
  { name: 'force', help: 'rotate: removes old secrets at once, with the sessions that were made with them' },
]
