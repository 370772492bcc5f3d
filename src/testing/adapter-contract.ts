/** What every adapter must do, as runnable cases over real servers: for authors of adapters, with any test runner. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CommitErrorAnswer } from '../adapters/commit-error.ts'
import type { Session, Sessions } from '../types.ts'
import { adapterBench, type Bench } from './adapter-bench.ts'
import { bodyCases } from './adapter-cases-body.ts'
import { clientCases } from './adapter-cases-client.ts'
import { failureCases } from './adapter-cases-failure.ts'
import { fetchCases } from './adapter-cases-fetch.ts'
import { headCases } from './adapter-cases-head.ts'
import type { Contract } from './contract.ts'
import type { Data } from './visit.ts'

/** One application, in the style of the adapter under test. */
export interface ContractApp {
  node?: (request: IncomingMessage, response: ServerResponse, session: Session<Data>) => unknown
  fetch?: (request: Request, session: Session<Data>) => Response | Promise<Response>
}

export interface ContractServer {
  readonly port: number
  close(): Promise<void>
}

export interface AdapterUnderTest {
  /** How handlers answer: `node` through a ServerResponse, `fetch` by returning a Response. */
  readonly kind: 'node' | 'fetch'
  /**
   * Starts a server on a free port of 127.0.0.1. With `sessions` undefined, the same server without Holdfast, whose handler
   * gets `bareSession`: the answers of the two are compared.
   */
  serve(app: ContractApp, sessions: Sessions<Data> | undefined, options: ServeOptions): Promise<ContractServer>
  /** Cases that do not apply, by name, with the reason. */
  readonly skip?: Readonly<Record<string, string>>
}

export interface ServeOptions {
  readonly onCommitError?: (error: unknown) => CommitErrorAnswer
  readonly bareSession: Session<Data>
}

export interface AdapterCase {
  readonly name: string
  /** The handler styles it is about. */
  readonly kinds: readonly AdapterUnderTest['kind'][]
  run(bench: Bench): Promise<void>
}

export function adapterContract(adapter: AdapterUnderTest): Contract {
  const all = [...headCases, ...bodyCases, ...failureCases, ...clientCases, ...fetchCases]
  return all
    .filter(({ kinds }) => kinds.includes(adapter.kind))
    .map(({ name, run }) => ({
      name,
      run: () => withoutUnhandled(() => withBench(adapter, run)),
      ...(adapter.skip?.[name] !== undefined && { skip: adapter.skip[name] }),
    }))
}

async function withBench(adapter: AdapterUnderTest, run: AdapterCase['run']): Promise<void> {
  const bench = adapterBench(adapter)
  try {
    await run(bench)
  } finally {
    await bench.close()
  }
}

/** An error that nobody handles ends a real server: it fails the case. */
async function withoutUnhandled(run: () => Promise<void>): Promise<void> {
  const unhandled: unknown[] = []
  const note = (error: unknown): number => unhandled.push(error)
  process.on('uncaughtException', note)
  process.on('unhandledRejection', note)
  try {
    await run()
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    process.off('uncaughtException', note)
    process.off('unhandledRejection', note)
  }
  if (unhandled.length > 0) throw new Error('An error was not handled.', { cause: unhandled[0] })
}
