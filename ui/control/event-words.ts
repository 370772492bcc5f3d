/** What happened to a session, as one would tell it. Each begins where "Session ab12cd34 of ada" ends. */
const WORDS: Readonly<Record<string, string>> = {
  created: 'begins.',
  regenerated: 'goes on under a new id: its visitor logged in.',
  replaced: 'gave its place to the one with the new id.',
  destroyed: 'ended: its visitor logged out.',
  expired: 'ended: nobody used it for too long.',
  revoked: 'was ended from outside.',
  regressed: 'lacks a write that its visitor has seen: the newest copy is gone.',
  conflict: 'was changed on two servers at once: both changes were merged.',
  invalid: 'came with something that does not hold: it was refused.',
  lateWrite: 'was to be changed after its answer had left: nothing was stored.',
  degraded: 'Fewer servers than wished for confirm the writes.',
  recovered: 'As many servers as wished for confirm the writes again.',
}
const SERVER_STATES: Readonly<Record<string, string>> = {
  up: 'is up and takes visitors.',
  joining: 'is starting and asks the others what they know.',
  paused: 'hangs: its process is stopped, its connections stay open.',
  draining: 'takes no new visitors and hands over its sessions.',
  down: 'is down.',
}

export function sessionWords(type: string, detail: string | undefined, hasKey: boolean): string {
  if (type === 'revoked' && !hasKey) return 'All sessions of this user were ended.'
  return WORDS[type] ?? detail ?? type
}

export function stateWords(state: string): string {
  return SERVER_STATES[state] ?? `is ${state}.`
}
