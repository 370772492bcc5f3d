/** Where a fault of the implementation can be put in from outside. */
import type { RunningStrategy, Runtime, StrategyContext, Transport } from '../../src/seam.ts'
import type { Plan, Profile } from './plan.ts'
import type { SimServer } from './server.ts'
import type { World } from './world.ts'

export interface Place {
  readonly server: SimServer
  readonly world: World
}

export interface Mutation {
  readonly name: string
  readonly profile: Profile
  /** Changes the plan to one in which the fault can be seen. */
  plan?(plan: Plan): Plan
  runtime?(runtime: Runtime, node: string): Runtime
  context?(context: StrategyContext, place: Place): StrategyContext
  transport?(transport: Transport, place: Place): Transport
  strategy?(running: RunningStrategy, context: StrategyContext, place: Place): RunningStrategy
}
