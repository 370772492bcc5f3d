/** The shape of every published contract: any test runner can run its cases. */
export interface ContractCase {
  readonly name: string
  /** `skip` is called, at most once and last, when it turns out while running that the case does not apply. */
  run(skip?: (why: string) => void): Promise<void>
  /** Why this case does not apply. */
  readonly skip?: string
}
export type Contract = readonly ContractCase[]
