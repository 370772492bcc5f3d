import { testSeeds } from './seeds.ts'

testSeeds('replication')
