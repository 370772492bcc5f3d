import { testSeeds } from './seeds.ts'

testSeeds('affinity')
