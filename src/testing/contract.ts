/** The shape of every published contract: any test runner can run its cases. */
export interface ContractCase {
  readonly name: string
  run(): Promise<void>
  /** Why this case does not apply. */
  readonly skip?: string
}
export type Contract = readonly ContractCase[]
