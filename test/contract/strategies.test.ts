import { createSessions } from '../../src/sessions.ts'
import { isolated } from '../../src/strategies/isolated.ts'
import { strategyContract } from '../../src/testing/strategy-contract.ts'
import { runContract } from './run-contract.ts'

export const SECRET = 'a secret for tests, long enough to be one'

runContract(
  'isolated',
  strategyContract({
    capabilities: isolated().capabilities,
    cannot: { share: 'isolated shares nothing: that is what it is there to show' },
    async start(options) {
      const sessions = createSessions({ secrets: SECRET, strategy: isolated(), ...options })
      await sessions.ready()
      return { servers: [sessions], close: () => sessions.close() }
    },
  }),
)
