// What a user writes in one file…
import { createSessions, isolated } from 'holdfast'
import { expressSessions } from 'holdfast/express'

export const sessions = createSessions({
  secrets: 'a secret of the typed-use fixture, 32+ bytes',
  strategy: isolated(),
  initial: () => ({ cart: [] as string[], visits: 0 }),
})
export const middleware = expressSessions(sessions)
