from score_maker.cli import main

main()
