/** Hears from the strategy that a session was ended on purpose, by whomever: the command line ends sessions without a word to the lab. */
import type { MaybePromise, Opening, SessionStrategy } from '../seam.ts'

/** `ended` gets the key of each session that a request presents and that was ended, however often it is presented. */
export function withEndings(strategy: SessionStrategy, ended: (key: string) => void): SessionStrategy {
  const look = (key: string, opening: Opening): Opening => {
    if (opening.outcome === 'gone' && opening.reason !== 'unknown') ended(key)
    return opening
  }
  return {
    name: strategy.name,
    capabilities: strategy.capabilities,
    start(context) {
      const running = strategy.start(context)
      const open = running.open.bind(running)
      running.open = (jar): MaybePromise<Opening> => {
        const opening = open(jar)
        return opening instanceof Promise ? opening.then((late) => look(jar.key, late)) : look(jar.key, opening)
      }
      return running
    },
  }
}
